"""From a configuration to the objects that it describes: stars, region, grids, prior, engine options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from gpdust.catalogue import StarCatalogue
from gpdust.config.config import Config
from gpdust.errors import ConfigError, GpdustError
from gpdust.grid import Region, SphericalGrid
from gpdust.prior import InducingGP
from gpdust.units import PARSEC


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


def prior(config: Config) -> InducingGP:
    """The prior, its inducing points still to be placed."""
    section = config.prior
    learn = section.learn if isinstance(section.learn, bool) else list(section.learn)
    with blaming("prior"):
        return InducingGP(
            kernel=section.kernel,
            inducing=section.inducing,
            length_scale=section.length_scale,
            amplitude=section.amplitude,
            mean_density=section.mean_density,
            placement=section.placement,
            learn=learn,
            learn_inducing=section.learn_inducing,
        )


def engine_options(config: Config) -> dict[str, object]:
    """What [fit] passes on to the engine."""
    return {name: getattr(config.fit, name) for name in ("max_steps", "particles", "tolerance")}
