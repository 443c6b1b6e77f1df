"""Do map and error bars fit the stars? Every star's measurement against what the posterior predicts for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpdust.catalogue import StarCatalogue
from gpdust.checks.groups import Group, Groups
from gpdust.checks.predictions import StarPredictions, predict_stars
from gpdust.checks.reference import Statistic, compare_with_reference
from gpdust.checks.report import as_record, as_text
from gpdust.checks.verdict import verdict
from gpdust.errors import PosteriorError
from gpdust.likelihood import GaussianNoise, StarTreatment
from gpdust.posterior import Posterior

if TYPE_CHECKING:
    import numpy as np

FEWEST_STARS = 20


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """What `predictive_check` returns; `str` gives the whole report.

    Attributes
    ----------
    predictions : StarPredictions
        Star by star.
    statistics : dict of str to Statistic
        Of all stars' standardised residuals, with what is expected if all is right: median, robust_sigma, within_50,
        within_68, within_95 (shares inside central predictive intervals), beyond_3, beyond_5 (shares farther off, σ).
    by_distance, by_extinction : list of Group
        Bins of equal numbers of stars along measured distance and along *predicted* extinction (bins of measured
        extinction would pick stars by their errors, and show a trend where there is none).
    by_sky : dict of int to list of Group
        By HEALPix nside, coarse to fine, pixels with at least 20 stars.
    verdict : list of str
        What speaks against map and errors, in words.
    held_out : bool
        Whether the fit has not seen these stars.
    given, samples, seed : int
        Stars in the catalogue, draws of the map, and the seed.
    treatment : StarTreatment
        How the stars were treated.
    """

    predictions: StarPredictions
    statistics: dict[str, Statistic]
    by_distance: list[Group]
    by_extinction: list[Group]
    by_sky: dict[int, list[Group]]
    verdict: list[str]
    held_out: bool
    given: int
    samples: int
    seed: int
    treatment: StarTreatment

    def __str__(self) -> str:
        return as_text(self)

    def as_dict(self) -> dict:
        """Everything but the single stars as plain data, for JSON."""
        return as_record(self)

    def plot(self, **options: object) -> np.ndarray:
        """Draw four panels; see `gpdust.plot.plot_predictive_check`."""
        from gpdust.plot import plot_predictive_check

        return plot_predictive_check(self, **options)


def predictive_check(
    posterior: Posterior, stars: StarCatalogue, samples: int = 100, seed: int = 0, *, held_out: bool = False
) -> PredictiveCheck:
    """Check a posterior against stars: whether map and error bars fit them.

    The extinction of every star on the grid (50 000 of them at random where there are more) is predicted from joint
    draws of the map, with the star's distance and noise treated as in the fit, and without a look at its measurement.

    Parameters
    ----------
    posterior : Posterior
    stars : StarCatalogue
    samples : int
        Joint draws of the map.
    seed : int
        Of the draws, and of the choice among many stars.
    held_out : bool
        Whether the fit has *not* seen these stars: an honest test, best of whole sightlines
        (`gpdust.hold_out_sightlines`). Stars that were fitted have drawn the map towards them; what is expected of
        them allows for that as far as a linear model does, but they say nothing of places without stars.

    Returns
    -------
    PredictiveCheck

    Raises
    ------
    PosteriorError
        If there are fewer than two draws, or fewer than 20 stars on the grid.

    Notes
    -----
    The probability integral transform of star i is the mean over draws of Σ_k w_ik F((A_i − c_k) / s_k), with F the
    distribution function of the noise, and w_ik the probability that the star lies at node k of its ray before its
    extinction is looked at (Dawid 1984, J. R. Stat. Soc. A 147, 278; Gneiting, Balabdaoui & Raftery 2007, J. R. Stat.
    Soc. B 69, 243). It is uniform where map, distances and noise are right. Its normal quantile, within ±8, is the
    standardised residual.

    Scatter in proportion to extinction is a share of what the map predicts, which a fit may not use (see `Noise`). The
    inflation of errors for distance is that of what each star measured, so that such predictions are approximate where
    it is large.

    The verdict says what is significant at 4 σ, with all bins and pixels counted that were looked at, and large enough
    to matter: errors wrong by 5 %, intervals by 2 %, offsets of a tenth of the predictive error, one star in a
    thousand as an outlier.
    """
    predictions = predict_stars(posterior, stars, samples, seed)
    if len(predictions) < FEWEST_STARS:
        raise PosteriorError(
            f"a check needs at least {FEWEST_STARS} stars on the grid of the fit ({posterior.grid!r}), but of the "
            f"{len(stars)} given there are {predictions.report}"
        )
    found = compare_with_reference(predictions, held_out, seed)
    groups = Groups(predictions, held_out, found["robust_sigma"].value / found["robust_sigma"].expected)
    by_sky = {nside: groups.sky(nside) for nside in groups.nsides}
    treatment = posterior.treatment
    return PredictiveCheck(
        predictions,
        found,
        groups.along(predictions.distance),
        groups.along(predictions.predicted),
        by_sky,
        verdict(groups, by_sky, found, type(treatment.noise) is GaussianNoise),
        held_out,
        len(stars),
        samples,
        seed,
        treatment,
    )
