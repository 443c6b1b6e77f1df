"""Which prior do the stars prefer? The same data fitted with each, ranked by their ELBO."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gpdust.catalogue import StarCatalogue
from gpdust.errors import InferenceError
from gpdust.fitting import fit
from gpdust.grid import RayGrid
from gpdust.model import DustModel
from gpdust.posterior import Posterior
from gpdust.prior import InducingGP, SpectralGP


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns.

    Attributes
    ----------
    posteriors : dict of str to Posterior
        By name, the highest ELBO first.
    """

    posteriors: dict[str, Posterior]

    @property
    def best(self) -> str:
        """Name of the prior with the highest ELBO."""
        return next(iter(self.posteriors))

    def __getitem__(self, name: str) -> Posterior:
        return self.posteriors[name]

    def __str__(self) -> str:
        best = self.posteriors[self.best].report
        width = max(len(name) for name in self.posteriors)
        lines = [f"{'prior':{width}}  {'ELBO':>14}  {'below the best':>18}  {'time':>8}"]
        for name, posterior in self.posteriors.items():
            report = posterior.report
            error = math.hypot(report.elbo_error, best.elbo_error)
            below = "" if report is best else f"{best.elbo - report.elbo:.1f} ± {error:.1f}"
            note = "" if report.converged else "  NOT converged"
            seconds = posterior.meta["seconds"]
            lines.append(f"{name:{width}}  {report.elbo:>14.1f}  {below:>18}  {seconds:>6.1f} s{note}")
        return "\n".join(lines)


def compare(
    stars: StarCatalogue,
    grid: RayGrid,
    priors: Mapping[str, InducingGP | SpectralGP],
    engine: str = "auto",
    seed: int = 0,
    progress: bool = True,
    **options: object,
) -> Comparison:
    """Fit the same stars with several priors and rank them by their ELBO.

    Parameters
    ----------
    stars : StarCatalogue
    grid : RayGrid
    priors : mapping of str to InducingGP or SpectralGP
        By the name to report them under. Kernels, kinds and numbers of inducing points may all differ.
    engine, seed, progress, **options
        As for `gpdust.fit`.

    Returns
    -------
    Comparison
        Its string is a table; differences of a few nats, or within their error, say nothing.

    Raises
    ------
    InferenceError
        If there is no prior to compare.
    """
    if not priors:
        raise InferenceError("there is no prior to compare; give a mapping of names to priors")
    fitted = {
        name: fit(DustModel(stars, grid, prior, seed), engine, seed, progress, **options)
        for name, prior in priors.items()
    }
    ranked = sorted(fitted, key=lambda name: fitted[name].report.elbo, reverse=True)
    return Comparison({name: fitted[name] for name in ranked})
