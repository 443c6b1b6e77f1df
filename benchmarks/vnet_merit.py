"""Figures of merit of the V-net: python benchmarks/vnet_merit.py [--recipes small-region large-region].

Cubes that no training has seen. First as in the V-net paper, from exact extinctions: dispersion and bias of ρ_p − ρ_t,
and the cross-correlation c(k), beside the paper's figures, a finite difference along the line of sight, non-negative
forward substitution (the net and the latter also from extinctions rounded to float32), and, for the first --exact-fits
cubes, gpdust's own fit with mgvi to stars in all cell centres with errors of 1 % and a scatter that is learned. Then as
skies are: 3 000 stars in the cube with errors of 10 %, beside finite differences and mgvi, whose error bars are checked
too. Figures of distributions, c(k) and slices go to --figures.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from common import machine, write_json
from cube_skies import NSIDE, CubeSky, at_cells, fit
from matplotlib import pyplot as plt

from gpdust.encoder import Encoder, ExtinctionCube, TrustWarning, finite_difference, forward_substitution
from gpdust.encoder.finite_difference import smooth_difference
from gpdust.encoder.observation import exact
from gpdust.plot import save_figure
from gpdust.scores import cube_scores, density_distributions
from gpdust.simulate.cubes import RECIPES

PAPER = {  # dispersion in mag/pc; the least c(k) at all scales, and beyond a scale in pc
    "small-region": (3e-4, 0.90, 0.0, 0.90),
    "large-region": (4e-4, 0.60, 167.6, 0.90),
}
STYLES = {  # of lines that often coincide
    "finite difference": {"color": "C1", "lw": 1.2},
    "forward substitution": {"color": "C2", "lw": 3.5, "alpha": 0.5},
    "V-net": {"color": "C0", "lw": 1.5},
    "V-net, rounded": {"color": "C3", "lw": 1.5, "ls": (0, (2, 2))},
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


def substituted(extinction: np.ndarray, information: np.ndarray, length: float) -> np.ndarray:
    """Non-negative forward substitution, without a net."""
    return forward_substitution(*(torch.as_tensor(x) for x in (extinction, information)), length).numpy()


def rounded(method: Callable) -> Callable:
    """The same of extinctions in float32."""
    return lambda extinction, *others: method(extinction.astype(np.float32), *others)


def exact_cubes(recipe: str, encoder: Encoder, options: argparse.Namespace) -> tuple[list[dict], dict]:
    """Scores from exact extinctions, and what figures need."""
    length, count, seed = RECIPES[recipe].cell_length, options.count, options.seed
    methods: dict[str, Callable] = {
        "V-net": encoder.density,
        "finite difference": clipped,
        "forward substitution": substituted,
        "V-net, rounded": rounded(encoder.density),
        "substitution, rounded": rounded(substituted),
    }
    truth, found, seconds = [], {name: [] for name in methods}, dict.fromkeys(methods, 0.0)
    for first in range(0, count, MOST_CUBES):
        some = range(first, min(first + MOST_CUBES, count))
        density = np.stack([RECIPES[recipe].simulate(np.random.default_rng([seed, STREAM, i])) for i in some])
        seen = [exact(cube.astype(np.float64), length) for cube in density]
        extinction, information = (np.stack(x) for x in zip(*seen, strict=True))
        truth.append(density)
        for name, method in methods.items():
            started = time.perf_counter()
            found[name].append(np.asarray(method(extinction, information, length), dtype=np.float32))
            seconds[name] += time.perf_counter() - started
    truth = np.concatenate(truth)
    kept = {"truth": truth, "length": length}
    bound = PAPER[recipe]
    print(f"\n{recipe}: {count} cubes, exact extinctions; standard deviation of the truth {truth.std():.1e} mag/pc")
    print("                        bias  dispersion    robust   c(k) at least  on large scales  s a cube")
    print(
        f"{'paper':21} {'about 0':>6} {bound[0]:11.1e}         –  {bound[1]:14.2f}  "
        f"{bound[3]:.2f} (> {bound[2]:.0f} pc)         –"
    )
    rows = []
    for name, cubes in found.items():
        kept[name] = np.concatenate(cubes)
        rows.append(scored(name, kept[name], truth, length, bound[2], seconds[name] / count))
    if fits := min(options.exact_fits, count):
        print(f"the first {fits} of these cubes")
        for name in methods:
            scored(name, kept[name][:fits], truth[:fits], length, bound[2], seconds[name] / count)
        rows.append(fitted(recipe, truth[:fits], bound[2], options))
    return rows, kept


def scored(
    name: str, cubes: np.ndarray, truth: np.ndarray, length: float, large_scale: float, seconds: float, note: str = ""
) -> dict:
    """Scores of some cubes, printed."""
    scores = cube_scores(cubes, truth, length)
    large = scores.correlation[2 * np.pi / scores.wavenumber > large_scale].min()
    print(
        f"{name:21} {scores.bias:+.0e} {scores.dispersion:11.1e} {scores.robust_dispersion:9.1e}  "
        f"{scores.correlation.min():14.2f}  {large:.2f}                  {seconds:8.3f}{note}",
        flush=True,
    )
    return {
        "method": name,
        "cubes": len(truth),
        "bias": scores.bias,
        "dispersion": scores.dispersion,
        "robust_dispersion": scores.robust_dispersion,
        "correlation": scores.correlation.tolist(),
        "wavenumber": scores.wavenumber.tolist(),
        "seconds": seconds,
    }


def fitted(recipe: str, truth: np.ndarray, large_scale: float, options: argparse.Namespace) -> dict:
    """Scores of gpdust's own fits of some cubes, and what their error bars hold."""
    mean, held, taken = [], [], 0.0
    for density in truth:
        sky = CubeSky.at_centres(recipe, density, 0.01, options.nside)
        posterior, seconds = fit(sky.model(scatter=True), engine="mgvi", seed=options.seed)
        middle, low, high = at_cells(posterior, sky.cube)
        mean.append(middle)
        held.append(float(np.mean((low <= density) & (density <= high))))
        taken += seconds
    note = f"; 68 % intervals hold {np.mean(held):.2f} of the cells"
    row = scored("mgvi", np.stack(mean), truth, sky.cube.cell_length, large_scale, taken / len(truth), note)
    return {**row, "coverage": held}


def noisy_skies(recipe: str, encoder: Encoder, options: argparse.Namespace) -> tuple[list[dict], dict]:
    """Errors where all there is are stars, sky by sky."""
    rows, kept = [], {}
    print(f"\n{recipe}: {options.stars} stars with errors of {options.error:.0%}; rms and mean absolute error over the")
    print("standard deviation of the truth, and median absolute error over its mean; mgvi with a given prior, and")
    print("what its 68 % intervals hold; errors of the finite difference and of mgvi over the V-net's")
    print(
        "sky   V-net            finite diff.     smoothed         mgvi             "
        "fd / V-net       mgvi / V-net     s V-net  s mgvi  68 %"
    )
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
        error = {name: errors(x, truth) for name, x in maps.items()}
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
        ratios = [np.divide(error[name], error["V-net"]) for name in ("finite difference", "mgvi")]
        print(
            f"{seed:3}   "
            + "  ".join(triple(x) for x in (*error.values(), *ratios))
            + f" {seconds:8.2f} {fit_seconds:7.0f}  {rows[-1]['coverage']:.2f}",
            flush=True,
        )
        kept = kept or {"truth": truth, "length": length, **maps}
    mean = {name: np.mean([row["errors"][name] for row in rows], axis=0) for name in rows[0]["errors"]}
    ratios = [np.divide(mean[name], mean["V-net"]) for name in ("finite difference", "mgvi")]
    print("mean  " + "  ".join(triple(x) for x in (*mean.values(), *ratios)))
    return rows, kept


def errors(found: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Rms and mean absolute error over the standard deviation of the truth, and median absolute error over its mean."""
    off = abs(found - truth)
    return (
        float(np.sqrt(np.mean(off**2)) / truth.std()),
        float(np.mean(off) / truth.std()),
        float(np.median(off) / truth.mean()),
    )


def triple(values: tuple[float, float, float]) -> str:
    """Three numbers in a column of a table."""
    return " ".join(f"{x:<4.2f}" if x < 100 else f"{x:<4.0f}" for x in values).ljust(15)


def draw(recipe: str, cubes: dict, sky: dict, folder: Path) -> None:
    """Distributions and c(k) of exact cubes, and slices of the first sky."""
    truth = cubes["truth"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for number, (name, style) in enumerate(STYLES.items()):
        density, scores = cubes[name], cube_scores(cubes[name], truth, cubes["length"])
        edges, predicted, true = density_distributions(density, truth, least=1e-6)
        if not number:
            left.stairs(true, edges, label="truth", color="lightgrey", fill=True)
        left.stairs(predicted, edges, label=name, **style)
        right.plot(scores.wavenumber, scores.correlation, label=name, **style)
    left.set(xscale="log", yscale="log", xlabel="density (mag/pc)", ylabel="share of cells per dex")
    right.set(xlabel="k (pc⁻¹)", ylabel="c(k)", ylim=(0, 1.02))
    right.axhline(PAPER[recipe][1], color="grey", ls=":", label="paper, at least")
    named = {
        label: line for panel in (left, right) for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=len(named), frameon=False)
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
    parser.add_argument("--exact-fits", type=int, default=2, help="of those cubes, by mgvi")
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
    warnings.simplefilter("ignore", TrustWarning)  # two in a hundred cubes lie outside by definition
    print(machine(), f"seed {options.seed}", sep="\n", flush=True)
    record = {"machine": machine(), "seed": options.seed}
    for recipe in options.recipes:
        encoder = Encoder.load(options.net) if options.net else Encoder.packaged(recipe)
        rows, cubes = exact_cubes(recipe, encoder, options)
        skies, sky = noisy_skies(recipe, encoder, options)
        record[recipe] = {"exact": rows, "stars": skies}
        if options.figures:
            draw(recipe, cubes, sky, options.figures)
    write_json(options.json, record)


if __name__ == "__main__":
    main()
