"""The verdict of a check in words: each sentence with its number and its significance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from scipy.stats import norm, poisson

from gpdust.checks.groups import Group, Groups
from gpdust.checks.predictions import StarPredictions
from gpdust.checks.reference import FAR, INTERVALS, Statistic

SIGMAS = 4.0  # how significant a sentence is, with all places counted that were looked at
PROBABILITY = 2 * norm.sf(SIGMAS)
LEAST_FACTOR = 0.05  # by which errors are wrong
LEAST_COVERAGE = 0.02  # by which an interval holds too much or too little
LEAST_OFFSET = 0.1  # of the predictive error, by which a group of stars is off
LEAST_OUTLIERS = 1e-3  # of the stars, and as many again as expected
Place = TypeVar("Place")
NOTHING = "nothing speaks against map and errors"


def about_offsets(groups: Groups, by_sky: dict[int, list[Group]]) -> Iterator[str]:
    """Where stars see more or less than the map: along distance, along extinction and on the sky."""
    stars = groups.predictions
    along = [
        striking(groups.runs(stars.distance, "{:.0f} pc")),
        striking(groups.runs(stars.predicted, "{:.2g} mag of predicted extinction")),
    ]
    said = set()
    for place, group in filter(None, along):
        if place not in said:  # on the whole is on the whole
            yield f"{place} {_offset(group)})"
        said.add(place)
    parts_of_all = ((nside, group) for nside, parts in by_sky.items() for group in parts)
    found = striking((nside, group) for nside, group in parts_of_all if group.stars <= len(stars) / 2)
    if found:
        nside, group = found
        parts = by_sky[nside]
        threshold = threshold_among(len(parts))
        off = sum(_is_off(part, threshold) for part in parts)
        yield (
            f"one part of the sky (l = {group.where['l']:.1f}°, b = {group.where['b']:.1f}°, {58.6 / nside:.2g}° wide) "
            f"is off: {_offset(group)}; {off} of {len(parts)} such parts are off)"
        )


def _offset(group: Group) -> str:
    more = "more" if group.excess > 0 else "less"
    sigmas = f"{abs(group.significance):.0f} sigma, {group.stars} stars"
    return f"stars see {abs(group.excess):.2g} mag {more} than the map ({sigmas}"


def striking(groups: Iterable[tuple[Place, Group]]) -> tuple[Place, Group] | None:
    """The most significant offset among groups, if it is above the thresholds for as many as there are.

    Groups come simplest first, and the first within one sigma of the most significant is as good as that.
    """
    groups = list(groups)
    threshold = threshold_among(len(groups))
    off = [each for each in groups if _is_off(each[1], threshold)]
    most = max((abs(group.significance) for _, group in off), default=0.0)
    return next((each for each in off if abs(each[1].significance) > most - 1), None)


def threshold_among(number: int) -> float:
    """How many sigma one of so many groups must be off, lest the verdict err oftener than at SIGMAS."""
    return float(norm.isf(PROBABILITY / 2 / max(number, 1)))


def _is_off(group: Group, threshold: float) -> bool:
    return abs(group.significance) > threshold and abs(group.median) > LEAST_OFFSET


def about_errors(found: dict[str, Statistic]) -> Iterator[str]:
    """Whether errors have the right size, and intervals hold what they say."""
    sigma = found["robust_sigma"]
    factor, error = sigma.value / sigma.expected, sigma.error / sigma.expected * sigma.value / sigma.expected
    if abs(factor - 1) > max(LEAST_FACTOR, SIGMAS * error):
        wrong, by = ("underestimated", factor) if factor > 1 else ("overestimated", 1 / factor)
        yield (
            f"errors look {wrong} by a factor {by:.2f} ± {error / factor * by:.2f} (robust sigma of the standardised "
            f"residuals {sigma.value:.2f}, expected {sigma.expected:.2f})"
        )
        return
    cause = "the noise has another shape than it is taken to have"
    if abs(factor - 1) > 2 * error:
        cause = f"errors look too {'small' if factor > 1 else 'large'}"
    for level in INTERVALS:
        share = found[f"within_{level}"]
        if abs(share.value - share.expected) > max(LEAST_COVERAGE, SIGMAS * share.error):
            yield (
                f"intervals of {level} % hold {share.value:.1%} of the stars, expected {share.expected:.1%} "
                f"({abs(share.significance):.0f} sigma): {cause}"
            )
            return


def about_outliers(stars: StarPredictions, factor: float, gaussian: bool) -> Iterator[str]:
    """Whether more stars lie far off than errors that are too small by a factor would put there."""
    cure = 'noise = "student-t" or "mixture"' if gaussian else "noise with more bad stars or fewer degrees of freedom"
    size, n, factor = np.abs(stars.residual), len(stars), max(factor, 1.0)
    for far in sorted(FAR, reverse=True):
        beyond, expected = int(np.sum(size > far)), 2 * n * norm.sf(far / factor)
        unlikely = poisson.sf(beyond - 1, expected) < PROBABILITY
        if unlikely and beyond > max(2 * expected, expected + LEAST_OUTLIERS * n):
            yield (
                f"{beyond / n:.1%} of the stars lie beyond {far} sigma "
                f"({beyond}, expected {expected:.2g}): treat them as outliers ({cure})"
            )
            return


def verdict(groups: Groups, by_sky: dict[int, list[Group]], found: dict[str, Statistic], gaussian: bool) -> list[str]:
    """All that speaks against map and errors, in sentences; or one that says that nothing does.

    Parameters
    ----------
    groups : Groups
    by_sky : dict of int to list of Group
        By HEALPix nside.
    found : dict of str to Statistic
        Of all stars.
    gaussian : bool
        Whether the noise was taken to be Gaussian.
    """
    said = [
        *about_errors(found),
        *about_outliers(groups.predictions, groups.stretch, gaussian),
        *about_offsets(groups, by_sky),
    ]
    return said or [NOTHING]
