"""How stars are treated: what becomes of uncertain distances, outliers and underestimated errors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

import astropy.units as u
import numpy as np

from gpdust.catalogue import StarCatalogue
from gpdust.catalogue.label import MEASURED
from gpdust.errors import ConfigError
from gpdust.grid import RayGrid
from gpdust.likelihood.distance_priors import DistancePrior
from gpdust.likelihood.distances import DistanceMeasurements, MeasuredDistances, MeasuredParallaxes
from gpdust.likelihood.free_noise import FreeNoise
from gpdust.likelihood.local_extinction import local_extinction
from gpdust.likelihood.marginal import MarginalLikelihood
from gpdust.likelihood.measured_stars import MeasuredStars, StarReport
from gpdust.likelihood.nodes import NodeOptions
from gpdust.likelihood.noise import GaussianNoise, Noise, noise_from
from gpdust.likelihood.statistics import ExtinctionStatistics
from gpdust.los import locate_stars
from gpdust.units import DEGREE, MAGNITUDE, PARSEC, as_array, as_float

DISTANCES = ("marginal", "inflate", "ignore")


@dataclass(frozen=True, kw_only=True)
class StarTreatment:
    """What a model does with the errors of its stars.

    Attributes
    ----------
    distance : {"marginal", "inflate", "ignore"}
        "marginal" sums over where on its ray each star may be. "inflate" adds A σ_d / d to the error of the extinction
        A, as Dharmawardena et al. (2022, section 2.1) do after Rezaei Kh. et al. (2020), and then takes distances as
        exact. "ignore" takes them as exact. All the same where the catalogue has no distance errors.
    measured : {"distance", "parallax"}, optional
        What has Gaussian errors; by default what the catalogue says. With "parallax", distances d = 1/ϖ and errors
        σ_d = d² σ_ϖ are turned back.
    noise : Noise
        How measured extinctions scatter about true ones.
    learn : tuple of str
        Parameters of the noise that a fit learns: "extra", "proportional", "degrees_of_freedom", "bad_share".
    asymmetric : bool
        Whether lower and upper errors of the extinction are taken apart, as a split normal; else σ is their mean.
    nodes : NodeOptions
        Distance prior, and how distances are cut into nodes.
    """

    distance: str = "marginal"
    measured: str | None = None
    noise: Noise = field(default_factory=GaussianNoise)
    learn: tuple[str, ...] = ()
    asymmetric: bool = False
    nodes: NodeOptions = field(default_factory=NodeOptions)

    def __post_init__(self) -> None:
        for value, known in ((self.distance, DISTANCES), (self.measured or MEASURED[0], MEASURED)):
            if value not in known:
                raise ConfigError(f"unknown treatment {value!r} of distances; there are {', '.join(known)}")
        object.__setattr__(self, "learn", tuple(self.learn))
        FreeNoise(self.noise, self.learn)

    @property
    def free_noise(self) -> FreeNoise:
        """The noise, and what a fit learns of it."""
        return FreeNoise(self.noise, self.learn)

    def with_noise(self, noise: Noise) -> StarTreatment:
        """The same with other noise, such as that which a fit has learned."""
        return replace(self, noise=noise, learn=())

    @property
    def is_plain(self) -> bool:
        """Whether `description` holds all of it."""
        return not callable(self.nodes.prior)

    def description(self) -> dict:
        """Everything but a distance prior that is a function, as plain data."""
        nodes = asdict(self.nodes)
        nodes["prior"] = self.nodes.prior if self.is_plain else None
        plain = {name: getattr(self, name) for name in ("distance", "measured", "learn", "asymmetric")}
        return plain | {"noise": self.noise.description(), "nodes": nodes}

    @classmethod
    def from_description(cls, description: dict) -> StarTreatment:
        """Undo `description`; a distance prior that could not be stored becomes the usual one."""
        nodes = {name: value for name, value in description["nodes"].items() if value is not None}
        noise = noise_from(description["noise"])
        return cls(
            **(description | {"noise": noise, "nodes": NodeOptions(**nodes), "learn": tuple(description["learn"])})
        )

    def distance_prior(self, stars: StarCatalogue) -> str | DistancePrior:
        """The one given, or uniform density; but flat for percentiles, which have somebody's prior in them already."""
        percentiles = self._measured(stars) == "distance" and stars.distance_lower_error is not None
        return self.nodes.prior or ("flat" if percentiles else "uniform-density")

    def for_stars(self, stars: StarCatalogue, grid: RayGrid) -> StarTreatment:
        """The same with a distance prior and a number of parts of a cell that suit a catalogue, or its first chunk."""
        if not len(stars):
            return self
        nodes = replace(self.nodes, prior=self.distance_prior(stars))
        measured = self._measured(stars)
        columns = ((stars.distance, PARSEC), (stars.extinction, MAGNITUDE), (stars.extinction_error, MAGNITUDE))
        nodes = nodes.chosen(grid, *(as_array(column, unit, "") for column, unit in columns))
        return replace(self, nodes=nodes, measured=measured)

    def _measured(self, stars: StarCatalogue) -> str:
        return self.measured or stars.measured

    def likelihood(
        self, stars: StarCatalogue, grid: RayGrid, first: int = 0
    ) -> tuple[ExtinctionStatistics | MarginalLikelihood, StarReport]:
        """The likelihood of a catalogue, or of a chunk of it, and what became of its stars.

        Parameters
        ----------
        stars : StarCatalogue
        grid : RayGrid
        first : int
            Number of the first star, where this is a chunk.
        """
        if self._is_compressible(stars):
            distance = as_array(stars.distance, PARSEC, "distance")
            extinction = as_array(stars.extinction, MAGNITUDE, "extinction")
            error, _ = self._extinction_errors(stars, extinction, distance)
            noise = self.noise.extra**2 + (self.noise.proportional * self._local(stars)) ** 2
            return _compressed(stars, grid, distance, extinction, np.sqrt(error**2 + noise))
        likelihood = self.star_by_star(stars, grid, first)
        return likelihood, likelihood.report

    def star_by_star(self, stars: StarCatalogue, grid: RayGrid, first: int = 0) -> MarginalLikelihood:
        """The likelihood that keeps every star, even where their distances are exact; see `likelihood`."""
        distance = as_array(stars.distance, PARSEC, "distance")
        extinction = as_array(stars.extinction, MAGNITUDE, "extinction")
        lower, upper = self._extinction_errors(stars, extinction, distance)
        l, b = as_array(stars.l, DEGREE, "l"), as_array(stars.b, DEGREE, "b")
        distances, local = self._distances(stars, distance), self._local(stars)
        measured = MeasuredStars.make(l, b, distances, extinction, lower, upper, first, local)
        nodes = replace(self.nodes, prior=self.distance_prior(stars))
        return MarginalLikelihood.from_stars(grid, measured, self.noise, nodes)

    def padding(self, stars: StarCatalogue, far: u.Quantity) -> u.Quantity:
        """How far cells behind a region should reach for stars that may lie there: two distance errors at its far end.

        Without them its last cells would take up the dust that such stars have seen behind it.

        Parameters
        ----------
        stars : StarCatalogue
        far : Quantity
            The far end.

        Returns
        -------
        Quantity
            pc, two digits; zero where distances count as exact.
        """
        if self.distance != "marginal" or stars.distance_error is None:
            return 0 * PARSEC
        distance, error = (as_array(getattr(stars, name), PARSEC, name) for name in ("distance", "distance_error"))
        inside = distance <= as_float(far, PARSEC, "far")
        if not inside.any():
            return 0 * PARSEC
        last = inside & (distance >= np.percentile(distance[inside], 90))
        return float(f"{2 * np.median(error[last]):.2g}") * PARSEC

    def notes(self, stars: StarCatalogue) -> list[str]:
        """What a user should know of how the errors of a catalogue are used."""
        notes = []
        if stars.distance_error is not None:
            share = as_array(stars.distance_error, PARSEC, "distance_error") / as_array(
                stars.distance, PARSEC, "distance"
            )
            prior = self.distance_prior(stars)
            typical = f"median {np.median(share):.1%}" if len(stars) else "no star"
            typical += ", Gaussian in parallax" * (self._measured(stars) == "parallax")
            notes.append(
                {
                    "marginal": f"distance errors ({typical}) are summed over, prior: {prior}",
                    "inflate": f"distance errors ({typical}) inflate those of the extinction",
                    "ignore": f"distances are taken as exact; their errors ({typical}) are not used",
                }[self.distance]
            )
        if stars.extinction_lower_error is not None and not self.asymmetric:
            notes.append("lower and upper errors of the extinction are averaged")
        return notes

    def _is_compressible(self, stars: StarCatalogue) -> bool:
        """Whether the likelihood is a quadratic form of extinctions whose coefficients never change."""
        exact = (self.distance != "marginal" or stars.distance_error is None) and self.nodes.beyond is None
        plain = isinstance(self.noise, GaussianNoise) and not self.learn
        return exact and plain and not (self.asymmetric and stars.extinction_lower_error is not None)

    def _local(self, stars: StarCatalogue) -> np.ndarray:
        """What a scatter in proportion to extinction is a share of, mag; made only where there is such a scatter."""
        extinction = as_array(stars.extinction, MAGNITUDE, "extinction")
        if not self.noise.proportional:
            return extinction
        l, b = as_array(stars.l, DEGREE, "l"), as_array(stars.b, DEGREE, "b")
        return local_extinction(l, b, as_array(stars.distance, PARSEC, "distance"), extinction)

    def _extinction_errors(
        self, stars: StarCatalogue, extinction: np.ndarray, distance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        names = ["extinction_error"] * 2
        if self.asymmetric and stars.extinction_lower_error is not None:
            names = ["extinction_lower_error", "extinction_upper_error"]
        lower, upper = (as_array(getattr(stars, name), MAGNITUDE, name) for name in names)
        if self.distance == "inflate" and stars.distance_error is not None:
            moved = extinction * as_array(stars.distance_error, PARSEC, "distance_error") / distance
            lower, upper = np.hypot(lower, moved), np.hypot(upper, moved)
        return lower, upper

    def _distances(self, stars: StarCatalogue, distance: np.ndarray) -> DistanceMeasurements:
        if self.distance != "marginal" or stars.distance_error is None:
            return MeasuredDistances.with_error(distance, 0.0)
        error = as_array(stars.distance_error, PARSEC, "distance_error")
        if self._measured(stars) == "parallax":
            return MeasuredParallaxes(1 / distance, error / distance**2)
        if stars.distance_lower_error is None:
            return MeasuredDistances.with_error(distance, error)
        sides = (as_array(getattr(stars, f"distance_{side}_error"), PARSEC, side) for side in ("lower", "upper"))
        return MeasuredDistances(distance, *sides)


def _compressed(
    stars: StarCatalogue, grid: RayGrid, distance: np.ndarray, extinction: np.ndarray, error: np.ndarray
) -> tuple[ExtinctionStatistics, StarReport]:
    l, b = as_array(stars.l, DEGREE, "l"), as_array(stars.b, DEGREE, "b")
    positions = locate_stars(grid, l, b, distance)
    inside, on_sky = positions.inside, grid.locate_rays(l, b) >= 0
    report = StarReport(
        used=int(inside.sum()),
        outside=int((~on_sky).sum()),
        too_near=int((on_sky & (distance < grid.edges[0])).sum()),
        too_far=int((on_sky & (distance > grid.edges[-1])).sum()),
    )
    return ExtinctionStatistics.from_stars(grid.shape, positions[inside], extinction[inside], error[inside]), report
