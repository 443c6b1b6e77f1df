"""Which prior, or which treatment of them, do the stars prefer? The same data fitted with each, ranked by the ELBO."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

import astropy.units as u

from gpdust.catalogue import StarCatalogue
from gpdust.errors import InferenceError
from gpdust.fitting import fit
from gpdust.grid import RayGrid
from gpdust.likelihood import StarTreatment
from gpdust.model import DustModel
from gpdust.posterior import Posterior
from gpdust.prior import InducingGP, SpectralGP

Prior = InducingGP | SpectralGP
Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns.

    Attributes
    ----------
    posteriors : dict of str to Posterior
        By name, the highest ELBO first; fits that have not converged come after all that have.
    """

    posteriors: dict[str, Posterior]

    @property
    def best(self) -> str:
        """Name of the converged fit with the highest ELBO; only where none has converged, of one that has not."""
        return next(iter(self.posteriors))

    def __getitem__(self, name: str) -> Posterior:
        return self.posteriors[name]

    def __str__(self) -> str:
        best = self.posteriors[self.best].report
        width = max(len(name) for name in ("model", *self.posteriors))
        lines = [f"{'model':{width}}  {'ELBO':>14}  {'below the best':>18}  {'time':>8}"]
        for name, posterior in self.posteriors.items():
            report = posterior.report
            error = math.hypot(report.elbo_error, best.elbo_error)
            below = "" if report is best else f"{best.elbo - report.elbo:.1f} ± {error:.1f}"
            note = "" if report.converged else "  NOT converged"
            seconds = posterior.meta["seconds"]
            lines.append(f"{name:{width}}  {report.elbo:>14.1f}  {below:>18}  {seconds:>6.1f} s{note}")
        return "\n".join(lines)


def compare(
    stars: StarCatalogue | Iterable[StarCatalogue],
    grid: RayGrid,
    priors: Prior | Mapping[str, Prior],
    engine: str = "auto",
    seed: int = 0,
    progress: bool = True,
    treatment: StarTreatment | Mapping[str, StarTreatment] | None = None,
    foreground_density: u.Quantity | None = None,
    **options: object,
) -> Comparison:
    """Fit the same stars with several priors, or treatments of the stars, and rank them by their ELBO.

    Parameters
    ----------
    stars : StarCatalogue or iterable of StarCatalogue
        As for `DustModel`. They are read once for each treatment.
    grid : RayGrid
    priors : InducingGP or SpectralGP, or mapping of str to them
        By the name to report them under. Kernels, kinds and numbers of inducing points may all differ.
    engine, seed, progress, **options
        As for `gpdust.fit`.
    treatment : StarTreatment, or mapping of str to StarTreatment, optional
        As for `DustModel`. With several priors and several treatments, each prior is fitted under each treatment, and
        reported as "prior, treatment".
    foreground_density : Quantity, optional
        As for `DustModel`.

    Returns
    -------
    Comparison
        Its string is a table; differences of a few nats, or within their error, say nothing.

    Raises
    ------
    InferenceError
        If there is nothing to compare, if stars that can be read only once would be needed twice, or if treatments do
        not use the same stars: an ELBO counts what each star says, so that those of other stars do not compare.
        "marginal" and "ignore", for example, part at the ends of the grid, where a star may or may not lie on it.

    Notes
    -----
    Under each treatment log L is a density of the measured extinctions, given what was measured of distances. That is
    not quite so where errors are made of the extinctions themselves: `distance = "inflate"`, and, less so, noise that
    is `proportional`. A treatment of that kind compares best with others in which that part is the same.
    """
    named_priors, treatments = _named(priors), _named(treatment)
    pairs = list(product(named_priors, treatments))
    if not pairs or not (isinstance(priors, Mapping) or isinstance(treatment, Mapping)):
        raise InferenceError(
            "there is no prior to compare with another; give a mapping of names to priors (or treatments)"
        )
    if isinstance(stars, Iterator) and len(treatments) > 1:
        raise InferenceError(
            f"these chunks of stars can be read only once, and {len(treatments)} treatments need them as often; give a "
            "catalogue, or a list of chunks"
        )
    first = next(iter(named_priors.values()))
    models = {name: DustModel(stars, grid, first, seed, one, foreground_density) for name, one in treatments.items()}
    _require_same_stars(models)
    fitted = {}
    for prior, treated in pairs:
        model = models[treated].with_prior(named_priors[prior], seed, foreground_density)
        fitted[", ".join(filter(None, (prior, treated)))] = fit(model, engine, seed, progress, **options)
    reports = {name: posterior.report for name, posterior in fitted.items()}
    ranked = sorted(fitted, key=lambda name: (reports[name].converged, reports[name].elbo), reverse=True)
    return Comparison({name: fitted[name] for name in ranked})


def _named(choices: Choice | Mapping[str, Choice]) -> Mapping[str, Choice]:
    """What is to be compared by name; what is the same in all fits has none."""
    return choices if isinstance(choices, Mapping) else {"": choices}


def _require_same_stars(models: Mapping[str, DustModel]) -> None:
    """Raise where models use different stars, as far as their counts tell."""
    if len({replace(model.stars_used, bounds=0, cut=0, dropped=0.0) for model in models.values()}) > 1:
        used = "; ".join(f"{name}: {model.stars_used}" for name, model in models.items())
        raise InferenceError(
            f"these treatments do not use the same stars, so that their ELBOs can't be compared ({used}). Leave out "
            "stars that may lie beyond the ends of the grid, or compare treatments that differ in noise only"
        )
