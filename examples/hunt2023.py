"""Dust within 3 kpc from the star clusters of Hunt & Reffert (2023), and a test of it: python examples/hunt2023.py.

A fifth of the clusters is held out and predicted. Clusters scatter about any smooth map by more than their errors, the
more the more dust there is, and some by far: the noise is a Student-t whose scatter, in part in proportion to
extinction, and degrees of freedom are learned along with the map (not with --given). The map is compared with the best
one of constant density, A = ρ d.
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
START = {"length_scale": (300, 300, 100) * u.pc, "amplitude": 0.5, "mean_density": 5e-4 * u.mag / u.pc}
NOISE = gpdust.StudentNoise(extra=0.05, proportional=0.2, degrees_of_freedom=5.0)  # where learning starts
GIVEN_NOISE = gpdust.GaussianNoise(extra=0.6)


def rms(residuals):
    return float(np.sqrt(np.mean(np.square(residuals.value)))) * u.mag


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--catalogue", type=Path, default=DATA, help="table of clusters as a CSV file")
    parser.add_argument("--out", type=Path, default=Path("hunt2023"), help="folder for figures, maps and posterior")
    parser.add_argument("--seed", type=int, default=0, help="decides which clusters are held out, and the fit")
    parser.add_argument("--given", action="store_true", help="learn neither prior nor noise (0.6 mag), faster")
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
    learn = not arguments.given
    treatment = gpdust.StarTreatment(noise=NOISE if learn else GIVEN_NOISE, learn=NOISE.names if learn else ())
    prior = gpdust.SpectralGP("matern32", box_spacing=spacing, learn=learn, **START)
    model = gpdust.DustModel(train, REGION.grid(cells), prior, treatment=treatment)
    posterior = gpdust.fit(model, seed=seed)
    print(posterior.report, posterior.hyperparameter_table(), posterior.noise_table, sep="\n")
    print(f"the fit took {posterior.meta['seconds']:.0f} s")
    predicted = posterior.predict(held_out, samples=400)
    check = gpdust.predictive_check(posterior, held_out, samples=400, held_out=True)

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
    print(check)

    save_figure(check.plot(), arguments.out / "check.png")
    save_figure(plot_residuals(predicted.median, held_out.extinction), arguments.out / "residuals.png")
    maps = posterior.percentiles([16, 50, 84], REGION.grid((180, 12, 60), b_spacing="uniform"))
    maps.write(arguments.out / "maps.fits")
    save_figure(plot_top_down(maps), arguments.out / "top_down.png")
    posterior.save(arguments.out / "posterior")
    print(f"figures, maps and posterior are in {arguments.out}, after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
