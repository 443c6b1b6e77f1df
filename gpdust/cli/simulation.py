"""The demo: simulated clumps, fitted like any catalogue and scored against the truth."""

from __future__ import annotations

from dataclasses import dataclass

import astropy.units as u
import matplotlib
import numpy as np
from matplotlib.colors import LogNorm, Normalize

from gpdust.cli.figures import slice_distances
from gpdust.cli.folder import FitFolder
from gpdust.cli.pipeline import Run
from gpdust.config import Config
from gpdust.config.toml import render
from gpdust.errors import ConfigError
from gpdust.files import atomic_path
from gpdust.plot.colours import colour_bar
from gpdust.plot.sky import SKY_LABELS, SkyMesh
from gpdust.posterior import PercentileMaps
from gpdust.scores import DensityScores, density_scores
from gpdust.simulate import GridTruth, clump_density, simulated_clumps
from gpdust.units import DENSITY, as_array

STARS, TRUTH, CONFIG = "catalogue.fits", "truth.fits", "demo.toml"
COLUMNS = 4
RESIDUAL_RANGE = 0.5


@dataclass(frozen=True)
class Scale:
    """How large a demo is."""

    stars: int
    grid: tuple[int, int, int]
    maps: tuple[int, int, int]


FULL = Scale(120_000, (20, 20, 35), (100, 100, 105))
QUICK = Scale(20_000, (12, 12, 16), (40, 40, 42))

SPECTRAL = {"kind": "spectral", "kernel": "matern32", "length_scale": 30, "amplitude": 0.2}
INDUCING = {"kind": "inducing", "kernel": "rbf", "length_scale": 20, "amplitude": 0.3}  # as in the paper


def demo_config(scale: Scale, seed: int, folder: FitFolder, inducing: int | None = None) -> tuple[Config, str]:
    """Configuration of a demo, with inducing points where their number is given, and the text of its file."""
    record = {
        "catalogue": {"path": STARS, "reference": f"simulated clumps, seed {seed}"},
        "region": {"l": [50, 90], "b": [-10, 10], "distance": [180, 500], "foreground_cells": 0},
        "grid": {"shape": list(scale.grid)},
        "prior": {
            **({**INDUCING, "inducing": inducing} if inducing else SPECTRAL),
            "mean_density": 1.6e-3,
            "learn": True,
        },
        "fit": {"engine": "auto", "seed": seed},
        "maps": {"shape": list(scale.maps), "percentiles": [16, 50, 84], "samples": 100},
    }
    notes = {
        "region": "l and b in deg, distance in pc",
        "grid.shape": "cells along l, b and distance",
        "prior.length_scale": "pc; where the fit starts",
        "prior.amplitude": "dex",
        "prior.mean_density": "mag / pc",
        "prior.learn": "false: they stay as given",
    }
    header = [f"The simulated clumps of `gpdust demo` with seed {seed}; fit them again with `gpdust fit`."]
    return Config.from_dict(record, folder.path), render(record, notes, header)


def refuse_others(folder: FitFolder) -> None:
    """Raise ConfigError where the folder holds stars or a truth that no demo has written."""
    config = folder.path / CONFIG
    ours = config.exists() and "`gpdust demo`" in config.read_text(encoding="utf-8")
    others = [name for name in (STARS, TRUTH, CONFIG) if (folder.path / name).exists()]
    if others and not ours:
        raise ConfigError(f"'{folder.path}' holds {' and '.join(others)} of something else: choose another --out")


def write_simulation(scale: Scale, seed: int, text: str, folder: FitFolder) -> None:
    """Write the stars, the truth behind them and the configuration."""
    survey = simulated_clumps(seed, scale.stars)
    survey.catalogue.write(folder.path / STARS)
    survey.truth.write(folder.path / TRUTH)
    with atomic_path(folder.path / CONFIG) as temporary:
        temporary.write_text(text, encoding="utf-8")


def score(run: Run, seed: int) -> tuple[DensityScores, u.Quantity]:
    """Scores of the run's maps, and the true density on their cells."""
    truth = GridTruth.sample(clump_density(seed), run.maps.grid).density
    return density_scores(run.maps, truth), truth


def plot_truth(maps: PercentileMaps, truth: u.Quantity) -> np.ndarray:
    """Draw truth, median map and relative residual, a row each, at some distances."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    distances, sky = slice_distances(maps, COLUMNS), SkyMesh(maps.grid)
    cells = maps.grid.locate_cells(distances.value)
    true, median = as_array(truth, DENSITY, "truth"), maps.density_values[maps.index(50)]
    width, height = sky.panel_size(2.9)
    figure, panels = plt.subplots(
        3, len(cells), figsize=(len(cells) * width + 1.2, 3 * height), sharex=True, sharey=True, layout="compressed"
    )
    both = np.stack([true, median])[..., cells]
    norm = LogNorm(both.min(), both.max())
    residual = (median - true) / true
    rows = [
        ("truth", true, norm, "inferno"),
        ("map", median, norm, "inferno"),
        ("residual", residual, Normalize(-RESIDUAL_RANGE, RESIDUAL_RANGE), "RdBu_r"),
    ]
    for row, (name, values, scale, cmap) in zip(panels, rows, strict=True):
        for panel, cell, distance in zip(row, cells, distances.value, strict=True):
            mesh = sky.draw(panel, values[:, cell], scale, cmap)
            panel.set_title(f"{name}, {distance:.0f} pc", fontsize="medium")
        row[0].set_ylabel(SKY_LABELS[1])
        if name == "map":
            colour_bar(mesh, panels[:2].ravel().tolist(), "density / (mag/pc)")
    colour_bar(mesh, panels[2].tolist(), "(map − truth) / truth", extend="both")
    for panel in panels[-1]:
        panel.set_xlabel(SKY_LABELS[0])
    figure.get_layout_engine().set(w_pad=0.05)
    return panels
