"""A fit of 300 stars by the command line, for its tests."""

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from click.testing import CliRunner, Result

from gpdust import StarCatalogue
from gpdust.cli import main

CONFIG = """
[catalogue]
path = "stars.fits"
band = "A0"
[region]
l = [50, 70]
b = [-10, 10]
distance = [100, 300]
[grid]
shape = [4, 4, 6]
[prior]
inducing = 20
length_scale = 50
mean_density = 1e-3
[fit]
particles = 4
max_steps = 120
[maps]
shape = [5, 6, 8]
samples = 20
"""


def gpdust(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_stars(folder: Path, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    n = 300
    distance = rng.uniform(100, 320, n)  # some beyond the region
    sigma = np.full(n, 0.02)
    sigma[7] = np.nan
    StarCatalogue(
        l=rng.uniform(50, 70, n) * u.deg,
        b=rng.uniform(-10, 10, n) * u.deg,
        distance=distance * u.pc,
        extinction=(1e-3 * (distance - 100) + 0.02 * rng.standard_normal(n)) * u.mag,
        extinction_error=np.where(np.isfinite(sigma), sigma, 1.0) * u.mag,
    ).write(folder / "stars.fits")
    with fits.open(folder / "stars.fits", mode="update") as hdus:
        hdus[1].data["extinction_error"][7] = np.nan


def fitted(folder: Path) -> Result:
    """Simulate stars in a folder, and fit them into `out`."""
    write_stars(folder)
    (folder / "fit.toml").write_text(CONFIG)
    return gpdust("fit", folder / "fit.toml", "--out", folder / "out")
