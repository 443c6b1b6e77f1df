"""From a configuration to the objects that it describes: stars, region, grids, prior, engine options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace

import numpy as np
from gpytorch.kernels import AdditiveKernel

from gpdust.catalogue import StarCatalogue
from gpdust.config.config import Config
from gpdust.config.sections import FitSection, InducingSection, SpectralSection, SVISection
from gpdust.errors import ConfigError, GpdustError
from gpdust.grid import Region, SphericalGrid
from gpdust.inference import NewtonOptions, SVIOptions
from gpdust.prior import InducingGP, SpectralGP
from gpdust.prior.kernels import build_kernel
from gpdust.units import PARSEC, as_array


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
    with blaming("catalogue"):
        return stars.select(
            max_distance_error_fraction=section.max_distance_error_fraction,
            max_extinction_error=section.max_extinction_error,
        )


def region(config: Config) -> Region:
    """Where the fit is."""
    section = config.region
    with blaming("region"):
        return Region(section.l, section.b, section.distance, section.foreground_cells, section.background)


def fit_grid(config: Config) -> SphericalGrid:
    """The cells of the fit, foreground and background padding included."""
    section = config.grid
    with blaming("grid"):
        return region(config).grid(section.shape, section.b_spacing, section.distance_spacing)


def map_grid(config: Config) -> SphericalGrid:
    """The cells of the maps: foreground cells count in their extinctions, but nothing behind the region does."""
    section = config.maps
    with blaming("maps"):
        return replace(region(config), background=0 * PARSEC).grid(
            section.shape, section.b_spacing, section.distance_spacing
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
