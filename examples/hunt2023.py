"""Dust within 3 kpc from the star clusters of Hunt & Reffert (2023), and a test of it: python examples/hunt2023.py.

A fifth of the clusters is held out and predicted. Clusters scatter about any smooth map by more than their errors. That
scatter is estimated on a part of the training set, as what the 68 % intervals must be widened by to hold 68 % of it:
about the median map for the fit, where it is added in quadrature to the errors, and beyond the spread of the map's
draws for predictions. The prior is learned without that part too, and then kept. The map is compared with the best one
of constant density, A = ρ d.
"""

import argparse
import time
from pathlib import Path

import astropy.units as u
import matplotlib as mpl
import numpy as np

import gpdust
from gpdust.plot import plot_residuals, plot_top_down, save_figure

DATA = Path(__file__).resolve().parents[2] / "shared/data/hunt2023_clusters.csv"
REGION = gpdust.Region((0, 360) * u.deg, (-12, 12) * u.deg, (100, 3000) * u.pc, foreground_cells=1)
FIRST_SCATTER = 0.6 * u.mag
START = {"length_scale": (300, 300, 100) * u.pc, "amplitude": 0.5, "mean_density": 5e-4 * u.mag / u.pc}


def fit_map(stars, scatter, cells, seed, **prior):
    """Fit the density, with a scatter in quadrature to the errors of the catalogue."""
    model = gpdust.DustModel(stars, REGION.grid(cells), gpdust.SpectralGP("matern32", **prior), extra_scatter=scatter)
    return gpdust.fit(model, seed=seed)


def learned(posterior):
    """The prior that a fit has learned, to be kept in later ones."""
    found = posterior.hyperparameters
    return {
        "length_scale": [found[f"length_scale_{axis}"] for axis in "xyz"] * u.pc,
        "amplitude": found["amplitude"],
        "mean_density": 10 ** found["mean_log_density"] * u.mag / u.pc,
        "learn": False,
        "box_spacing": max(posterior.prior.box.spacing) * u.pc,
    }


def measurements(predicted, stars, scatter, seed):
    """What a catalogue would measure: draws of the map's prediction, with the catalogue's errors and the scatter."""
    noise = np.random.default_rng(seed).standard_normal(predicted.shape)
    return gpdust.Estimate(predicted + noise * np.hypot(stars.extinction_error, scatter))


def held(estimate, stars):
    """Which stars lie in their 68 % interval."""
    lower, upper = estimate.percentile([16, 84])
    return (lower <= stars.extinction) & (stars.extinction <= upper)


def calibrated_scatter(predicted, stars, seed):
    """Scatter with which the 68 % intervals hold 68 % of the stars."""
    trials = np.arange(0, 2, 0.02) * u.mag
    shares = [held(measurements(predicted, stars, trial, seed), stars).mean() for trial in trials]
    return trials[np.argmin(np.abs(np.array(shares) - 0.68))]


def rms(residuals):
    return float(np.sqrt(np.mean(np.square(residuals.value)))) * u.mag


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--catalogue", type=Path, default=DATA, help="table of clusters as a CSV file")
    parser.add_argument("--out", type=Path, default=Path("hunt2023"), help="folder for figures, maps and posterior")
    parser.add_argument("--seed", type=int, default=0, help="decides which clusters are held out, and the fit")
    parser.add_argument("--quick", action="store_true", help="a coarse map, to see it run")
    arguments = parser.parse_args()
    if not arguments.catalogue.is_file():
        raise SystemExit(f"there is no file {arguments.catalogue}; give the table of clusters with --catalogue")
    mpl.use("agg")
    arguments.out.mkdir(parents=True, exist_ok=True)
    started, seed = time.monotonic(), arguments.seed
    cells, spacing = ((24, 6, 10), 200 * u.pc) if arguments.quick else ((72, 12, 30), 100 * u.pc)

    stars = gpdust.StarCatalogue.read(arguments.catalogue, preset="hunt2023")
    stars = stars.select(b=REGION.b, distance=REGION.distance)
    print(stars.summary())
    train, held_out = stars.split(0.2, seed=seed)
    inner, validation = train.split(0.2, seed=seed + 1)
    posterior = fit_map(inner, FIRST_SCATTER, cells, seed, box_spacing=spacing, **START)
    print(posterior.report, posterior.hyperparameter_table(), sep="\n")
    prior = learned(posterior)
    median = posterior.predict(validation, samples=200).median
    scatter = calibrated_scatter(np.broadcast_to(median, (200, *median.shape), subok=True), validation, seed)
    predicted = fit_map(inner, scatter, cells, seed, **prior).predict(validation, samples=200)
    intrinsic = calibrated_scatter(predicted.samples, validation, seed)
    print(f"scatter about the median map {scatter:.2f}, beyond its draws {intrinsic:.2f}")

    posterior = fit_map(train, scatter, cells, seed, **prior)
    print(posterior.report)
    predicted = posterior.predict(held_out, samples=400)
    measured = measurements(predicted.samples, held_out, intrinsic, seed)

    weight, d = train.extinction_error**-2, train.distance
    weighted = (weight * d * train.extinction).sum() / (weight * d**2).sum()
    plain = (d * train.extinction).sum() / (d**2).sum()
    error = rms(predicted.median - held_out.extinction)
    constant = {
        name: rms(density * held_out.distance - held_out.extinction)
        for name, density in (("weighted", weighted), ("plain", plain))
    }
    print(f"{len(train)} clusters fitted, {len(held_out)} held out, seed {seed}")
    print(f"rms error of A_V on those held out: {error:.3f}")
    for name, value in constant.items():
        print(f"  best constant density, {name} least squares: {value:.3f}, so {1 - error / value:.1%} below it")
    print(f"68 % predictive interval holds {held(measured, held_out).mean():.1%} of them")

    figure = mpl.figure.Figure(figsize=(5.2, 5), layout="constrained")
    axes = figure.add_subplot()
    bars = {"fmt": ".", "color": "C0", "ecolor": "0.8", "elinewidth": 0.6, "markersize": 3}
    bounds = np.stack([measured.median - measured.lower, measured.upper - measured.median])
    axes.errorbar(held_out.extinction.value, measured.median.value, bounds.value, **bars)
    limit = float(np.percentile(held_out.extinction.value, 99.5)) + 0.5
    axes.plot([0, limit], [0, limit], color="black", linewidth=0.8)
    axes.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
    axes.set(xlabel="observed $A_V$ / mag", ylabel="predicted $A_V$ / mag (68 % interval)")
    axes.set_title(f"{len(held_out)} clusters held out")
    save_figure(figure, arguments.out / "predicted.png")
    save_figure(plot_residuals(predicted.median, held_out.extinction), arguments.out / "residuals.png")
    maps = posterior.percentiles([16, 50, 84], REGION.grid((180, 12, 60), b_spacing="uniform"))
    maps.write(arguments.out / "maps.fits")
    save_figure(plot_top_down(maps), arguments.out / "top_down.png")
    posterior.save(arguments.out / "posterior")
    print(f"figures, maps and posterior are in {arguments.out}, after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
