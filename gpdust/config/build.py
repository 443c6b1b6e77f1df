"""From a configuration to the objects that it describes: stars, region, grids, prior, engine options."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace

import astropy.units as u
import numpy as np
from gpytorch.kernels import AdditiveKernel

from gpdust.catalogue import StarCatalogue, hold_out_sightlines
from gpdust.config.config import Config
from gpdust.config.sections import AUTO, FitSection, InducingSection, SpectralSection, SVISection
from gpdust.errors import ConfigError, GpdustError
from gpdust.grid import Region, SphericalGrid
from gpdust.inference import NewtonOptions, SVIOptions
from gpdust.likelihood import NodeOptions, StarTreatment
from gpdust.likelihood.noise import NOISES
from gpdust.prior import InducingGP, SpectralGP
from gpdust.prior.kernels import build_kernel
from gpdust.units import DEGREE, MAGNITUDE, PARSEC, as_array, as_float

SCATTER_KEYS = {"extra": "extra_scatter", "proportional": "proportional_scatter"}  # the other keys are names of `Noise`


@contextmanager
def blaming(section: str) -> Iterator[None]:
    """Name the section that an error comes from."""
    try:
        yield
    except ConfigError:
        raise
    except (GpdustError, ValueError) as error:
        raise ConfigError(f"[{section}] {error}") from error


def read_stars(config: Config) -> StarCatalogue:
    """Read the catalogue and make the cuts that are asked for; its report stays that of the file."""
    section = config.catalogue
    stars = StarCatalogue.read(
        section.path,
        columns=section.columns,
        units=section.units,
        preset=section.preset,
        band=section.band,
        quantity=section.quantity,
        reference=section.reference,
        strict=section.strict,
        format=section.format,
    )
    cuts = {name: getattr(section, name) for name in ("max_distance_error_fraction", "max_extinction_error")}
    with blaming("catalogue"):
        chosen = stars.select(**cuts)
    if not len(chosen):
        made = " and ".join(f"{name} = {limit}" for name, limit in cuts.items() if limit is not None)
        raise ConfigError(
            f"[catalogue] {made} leaves none of the {len(stars)} stars; the catalogue is this:\n{stars.summary()}"
        )
    return chosen


def split_stars(config: Config, stars: StarCatalogue) -> tuple[StarCatalogue, StarCatalogue]:
    """Split into stars to fit and stars held out, by sightlines at least as wide as the columns of the grid.

    Only stars in these columns are held out: the others are not fitted either.
    """
    share, grid = config.catalogue.hold_out, fit_grid(config)
    if not share:
        return stars, stars[:0]
    inside = grid.locate_rays(as_array(stars.l, DEGREE, "l"), as_array(stars.b, DEGREE, "b")) >= 0
    kept, held_out = hold_out_sightlines(stars[inside], share, _nside(grid), config.fit.seed)
    if inside.any() and not (len(kept) and len(held_out)):
        found = "all" if len(held_out) else "none"
        raise ConfigError(
            f"[catalogue] hold_out = {share:g} of the sightlines with stars in them is {found}; choose another "
            "share, or more cells in [grid] shape: sightlines are as wide as its columns, or wider"
        )
    return stars[~np.isin(stars.row, held_out.row)], held_out


def _nside(grid: SphericalGrid) -> int:
    """Resolution of the finest HEALPix pixels that are not smaller than the columns of a grid are in the mean."""
    column = float(as_array(grid.solid_angle, u.sr, "solid_angle").mean())
    return 2 ** max(0, math.floor(math.log2(math.sqrt(4 * math.pi / 12 / column))))


def region(config: Config, stars: StarCatalogue | None = None) -> Region:
    """Where the fit is; with `stars`, which decide on a padding that is to be chosen."""
    section = config.region
    background = section.background
    with blaming("region"):
        if background == AUTO:
            background = 0 * PARSEC if stars is None else treatment(config, stars).padding(stars, section.distance[1])
        made = Region(section.l, section.b, section.distance, 0, background)
        count = section.foreground_cells
        if count == AUTO:  # that of the fit, for the maps too: they must agree on where the foreground is
            count = made.foreground_cells_for(config.grid.shape[2])
        return replace(made, foreground_cells=count)


def fit_grid(config: Config, stars: StarCatalogue | None = None) -> SphericalGrid:
    """The cells of the fit, foreground and background padding included; see `region`."""
    section = config.grid
    with blaming("grid"):
        return region(config, stars).grid(section.shape, section.b_spacing, section.distance_spacing)


def map_grid(config: Config) -> SphericalGrid:
    """The cells of the maps: foreground cells count in their extinctions, but nothing behind the region does."""
    section = config.maps
    with blaming("maps"):
        return replace(region(config), background=0 * PARSEC).grid(
            section.shape, section.b_spacing, section.distance_spacing
        )


def treatment(config: Config, stars: StarCatalogue) -> StarTreatment:
    """What becomes of the stars' errors.

    A scatter that is to be learned starts at a third of the typical error, and bad stars scatter as extinctions do.
    """
    section = config.likelihood
    if section.asymmetric and stars.extinction_lower_error is None:
        raise ConfigError(
            "[likelihood] asymmetric = true needs lower and upper errors of the extinction, as columns [p16, p84] give "
            "them, but the catalogue has one error for both; leave asymmetric out"
        )
    error = as_array(stars.extinction_error, MAGNITUDE, "extinction_error")
    extinction = as_array(stars.extinction, MAGNITUDE, "extinction")
    typical = {
        "extra": float(np.median(error)) / 3,
        "proportional": float(np.median(error / np.maximum(np.abs(extinction), error))) / 3,
        "degrees_of_freedom": 4.0,
        "bad_share": 0.05,
    }
    kind, learned = NOISES[section.noise], section.learned()
    keys = {name: SCATTER_KEYS.get(name, name) for name in typical if name in kind.__dataclass_fields__}
    numbers = {name: typical[name] if key in learned else getattr(section, key) for name, key in keys.items()}
    if section.noise == "mixture":
        width = section.bad_width
        numbers["bad_width"] = float(np.std(extinction)) if width is None else as_float(width, MAGNITUDE, "bad_width")
    with blaming("likelihood"):
        return StarTreatment(
            distance=section.distance,
            measured=section.measured,
            noise=kind(**numbers),
            learn=tuple(name for name, key in keys.items() if key in learned),
            asymmetric=section.asymmetric,
            nodes=NodeOptions(
                prior=section.distance_prior,
                beyond=None if section.beyond is None else as_float(section.beyond, MAGNITUDE, "beyond"),
            ),
        )


def prior(config: Config) -> InducingGP | SpectralGP:
    """The prior, its inducing points or its box still to be placed."""
    section = config.prior
    learn = section.learn if isinstance(section.learn, bool) else list(section.learn)
    common = {
        "length_scale": section.length_scale,
        "amplitude": section.amplitude,
        "mean_density": section.mean_density,
        "learn": learn,
    }
    with blaming("prior"):
        if isinstance(section, SpectralSection):
            return SpectralGP(section.kernel, **common, box_spacing=section.box_spacing)
        is_sum = not isinstance(section.kernel, str)
        made = InducingGP(
            kernel=_sum_of_kernels(section) if is_sum else section.kernel,
            inducing=section.inducing,
            **common,
            placement=section.placement,
            learn_inducing=section.learn_inducing,
            matrix_memory=section.matrix_memory,
        )
    if is_sum:
        made.kernel_name = " + ".join(section.kernel)
    return made


def _sum_of_kernels(section: InducingSection) -> AdditiveKernel:
    """A GPyTorch kernel; its hyperparameters are then called as those of a spectral sum are."""
    scales = as_array(section.length_scale, PARSEC, "length_scale")
    scales = np.broadcast_to(scales.reshape(len(section.kernel), -1), (len(section.kernel), 3)).tolist()
    return AdditiveKernel(*map(build_kernel, section.kernel, scales, section.amplitude))


def engine_options(config: Config) -> dict[str, object]:
    """What [fit] passes on to the engine."""
    return {
        key.name: getattr(config.fit, key.name)
        for key in fields(config.fit)
        if key.name not in FitSection.__dataclass_fields__
    }


def engine_settings(config: Config) -> NewtonOptions | SVIOptions:
    """All settings of the engine."""
    return (SVIOptions if isinstance(config.fit, SVISection) else NewtonOptions)(**engine_options(config))
