"""Figures of merit of the V-net: python benchmarks/vnet_merit.py [--recipes small-region large-region].

Cubes that no training has seen. First as in the V-net paper, from exact extinctions: dispersion and bias of ρ_p − ρ_t,
and the cross-correlation c(k), beside the paper's figures and a finite difference along the line of sight. Then as
skies are: 3 000 stars in the cube with errors of 10 %, beside finite differences and gpdust's own fit with mgvi, whose
error bars are checked too. Figures of distributions, c(k) and slices go to --figures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from common import machine, write_json
from cube_skies import NSIDE, CubeSky, at_cells, fit
from matplotlib import pyplot as plt

from gpdust.encoder import Encoder, ExtinctionCube, finite_difference
from gpdust.encoder.finite_difference import smooth_difference
from gpdust.encoder.observation import exact
from gpdust.plot import save_figure
from gpdust.scores import cube_scores, density_distributions
from gpdust.simulate.cubes import RECIPES

PAPER = {  # dispersion in mag/pc; the least c(k) at all scales, and beyond a scale in pc
    "small-region": (3e-4, 0.90, 0.0, 0.90),
    "large-region": (4e-4, 0.60, 167.6, 0.90),
}
STREAM = 2**31 + 1  # of random numbers that no library uses
MOST_CUBES = 50  # at once


def clipped(extinction: np.ndarray, _: np.ndarray, length: float) -> np.ndarray:
    """A finite difference, where densities below zero count as none."""
    return np.maximum(finite_difference(extinction.astype(float), length), 0)


def smoothed(extinction: np.ndarray, information: np.ndarray, length: float) -> np.ndarray:
    """The same of extinctions smoothed over neighbours."""
    seen = (torch.as_tensor(x, dtype=torch.float64) for x in (extinction, information))
    return smooth_difference(*seen, length).clamp(min=0).numpy()


def exact_cubes(recipe: str, encoder: Encoder, count: int, seed: int) -> tuple[list[dict], dict]:
    """Scores from exact extinctions, and what figures need."""
    length = RECIPES[recipe].cell_length
    methods: dict[str, Callable] = {"V-net": encoder.density, "finite difference": clipped}
    truth, found, seconds = [], {name: [] for name in methods}, dict.fromkeys(methods, 0.0)
    for first in range(0, count, MOST_CUBES):
        some = range(first, min(first + MOST_CUBES, count))
        density = np.stack([RECIPES[recipe].simulate(np.random.default_rng([seed, STREAM, i])) for i in some])
        seen = [exact(cube, length) for cube in density]
        extinction, information = (np.stack(x) for x in zip(*seen, strict=True))
        truth.append(density)
        for name, method in methods.items():
            started = time.perf_counter()
            found[name].append(np.asarray(method(extinction, information, length), dtype=np.float32))
            seconds[name] += time.perf_counter() - started
    truth = np.concatenate(truth)
    rows, kept = [], {"truth": truth, "length": length}
    print(f"\n{recipe}: {count} cubes, exact extinctions; standard deviation of the truth {truth.std():.1e} mag/pc")
    print("                     bias  dispersion    robust   c(k) at least  on large scales  s a cube")
    bound = PAPER[recipe]
    print(
        f"{'paper':18} {'about 0':>6} {bound[0]:11.1e}         –  {bound[1]:14.2f}  "
        f"{bound[3]:.2f} (> {bound[2]:.0f} pc)         –"
    )
    for name, cubes in found.items():
        cubes = np.concatenate(cubes)
        scores = cube_scores(cubes, truth, length)
        kept[name] = cubes, scores
        large = scores.correlation[2 * np.pi / scores.wavenumber > bound[2]].min()
        rows.append(
            {
                "method": name,
                "bias": scores.bias,
                "dispersion": scores.dispersion,
                "robust_dispersion": scores.robust_dispersion,
                "correlation": scores.correlation.tolist(),
                "wavenumber": scores.wavenumber.tolist(),
                "seconds": seconds[name] / count,
            }
        )
        print(
            f"{name:18} {scores.bias:+.0e} {scores.dispersion:11.1e} {scores.robust_dispersion:9.1e}  "
            f"{scores.correlation.min():14.2f}  {large:.2f}                  {seconds[name] / count:8.3f}",
            flush=True,
        )
    return rows, kept


def noisy_skies(recipe: str, encoder: Encoder, options: argparse.Namespace) -> tuple[list[dict], dict]:
    """Errors where all there is are stars, sky by sky."""
    rows, kept = [], {}
    print(f"\n{recipe}: {options.stars} stars with errors of {options.error:.0%}; rms and mean absolute error over the")
    print("standard deviation of the truth; mgvi with given hyperparameters, and what its 68 % intervals hold")
    print("sky   V-net       finite diff.  smoothed     mgvi         ratio to fd  to mgvi   s V-net  s mgvi  68 %")
    for seed in range(options.seed, options.seed + options.skies):
        sky = CubeSky.make(recipe, seed, options.stars, options.error, options.nside)
        length, truth = sky.cube.cell_length, sky.density
        started = time.perf_counter()
        seen = ExtinctionCube.of(sky.positions, sky.extinction, sky.sigma, sky.cube.cells, encoder.neighbours)
        maps = {"V-net": encoder.density(seen.extinction, seen.information, length)}
        seconds = time.perf_counter() - started
        maps["finite difference"] = finite_difference(seen.extinction.astype(float), length)
        maps["smoothed"] = smoothed(seen.extinction, seen.information, length)
        posterior, fit_seconds = fit(sky.model(), engine="mgvi", seed=seed)
        mean, low, high = at_cells(posterior, sky.cube)
        maps["mgvi"] = mean
        error = {
            name: (
                float(np.sqrt(np.mean((x - truth) ** 2)) / truth.std()),
                float(np.mean(abs(x - truth)) / truth.std()),
            )
            for name, x in maps.items()
        }
        rows.append(
            {
                "seed": seed,
                "errors": error,
                "seconds": seconds,
                "mgvi_seconds": fit_seconds,
                "mgvi_steps": len(posterior.trace),
                "coverage": float(np.mean((low <= truth) & (truth <= high))),
            }
        )
        ratios = [error["V-net"][0] / error[name][0] for name in ("finite difference", "mgvi")]
        print(
            f"{seed:3}   "
            + "  ".join(f"{rms:.2f} {absolute:.2f}   " for rms, absolute in error.values())
            + f" {1 / ratios[0]:11.1f} {ratios[1]:8.2f} {seconds:9.2f} {fit_seconds:7.0f}  {rows[-1]['coverage']:.2f}",
            flush=True,
        )
        kept = kept or {"truth": truth, "length": length, **maps}
    mean = {name: np.mean([row["errors"][name] for row in rows], axis=0) for name in rows[0]["errors"]}
    print("mean  " + "  ".join(f"{rms:.2f} {absolute:.2f}   " for rms, absolute in mean.values()))
    return rows, kept


def errors(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Root mean square and mean absolute error over the standard deviation of the truth."""
    off = (found - truth) / truth.std()
    return float(np.sqrt(np.mean(off**2))), float(np.mean(abs(off)))


def draw(recipe: str, cubes: dict, sky: dict, folder: Path) -> None:
    """Distributions and c(k) of exact cubes, and slices of the first sky."""
    truth, names = cubes["truth"], [name for name in cubes if name not in ("truth", "length")]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name in names:
        density, scores = cubes[name]
        edges, predicted, true = density_distributions(density, truth, least=1e-6)
        if name == names[0]:
            left.stairs(true, edges, label="truth", color="black")
        left.stairs(predicted, edges, label=name)
        right.plot(scores.wavenumber, scores.correlation, label=name)
    left.set(xscale="log", yscale="log", xlabel="density (mag/pc)", ylabel="share of cells per dex")
    right.set(xlabel="k (pc⁻¹)", ylabel="c(k)", ylim=(0, 1.02))
    right.axhline(PAPER[recipe][1], color="grey", ls=":", label="paper, at least")
    for panel in (left, right):
        panel.legend(frameon=False)
    figure.suptitle(f"{recipe}: {len(truth)} cubes, exact extinctions")
    save_figure(figure, folder / f"vnet_{recipe}_merit.png")
    plt.close(figure)

    names = ["truth", "V-net", "mgvi", "smoothed"]
    figure, panels = plt.subplots(2, 4, figsize=(12, 5.6), layout="constrained", sharex=True, sharey=True)
    middle, side = len(sky["truth"]) // 2, len(sky["truth"]) * sky["length"]
    top = np.quantile(sky["truth"][:, :, middle], 0.995)
    extent = (0, side, -side / 2, side / 2)
    for column, name in enumerate(names):
        density = sky[name][:, :, middle].T
        shown = panels[0, column].imshow(density, origin="lower", extent=extent, vmin=0, vmax=top, cmap="magma")
        panels[0, column].set_title(name)
        if column:
            left_over = density - sky["truth"][:, :, middle].T
            rest = panels[1, column].imshow(
                left_over, origin="lower", extent=extent, vmin=-top, vmax=top, cmap="RdBu_r"
            )
            panels[1, column].set_xlabel("depth (pc)")
    panels[0, 0].set_ylabel("y (pc)")
    panels[1, 1].set_ylabel("y (pc)")
    panels[0, 0].set_xlabel("depth (pc)")
    panels[0, 0].tick_params(labelbottom=True)
    panels[1, 1].tick_params(labelleft=True)
    panels[1, 0].axis("off")
    figure.colorbar(shown, ax=panels[0], label="density (mag/pc)")
    figure.colorbar(rest, ax=panels[1], label="minus the truth (mag/pc)")
    figure.suptitle(f"{recipe}: a sky of stars with noise, slice at z = 0")
    save_figure(figure, folder / f"vnet_{recipe}_sky.png")
    plt.close(figure)


def main() -> None:
    """Run, print, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", choices=PAPER, default=list(PAPER))
    parser.add_argument("--net", type=Path, help="vnet.safetensors of a training, for one recipe; else the package's")
    parser.add_argument("--count", type=int, default=1000, help="cubes with exact extinctions")
    parser.add_argument("--skies", type=int, default=10, help="with stars")
    parser.add_argument("--stars", type=int, default=3000)
    parser.add_argument("--error", type=float, default=0.1)
    parser.add_argument("--nside", type=int, default=NSIDE, help="of gpdust's own fits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=Path, help="folder for the figures")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.net and len(options.recipes) > 1:
        parser.error("--net goes with one recipe")
    mpl.use("agg")
    print(machine(), f"seed {options.seed}", sep="\n", flush=True)
    record = {"machine": machine(), "seed": options.seed}
    for recipe in options.recipes:
        encoder = Encoder.load(options.net) if options.net else Encoder.packaged(recipe)
        rows, cubes = exact_cubes(recipe, encoder, options.count, options.seed)
        skies, sky = noisy_skies(recipe, encoder, options)
        record[recipe] = {"exact": rows, "stars": skies}
        if options.figures:
            draw(recipe, cubes, sky, options.figures)
    write_json(options.json, record)


if __name__ == "__main__":
    main()
