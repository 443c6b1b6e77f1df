"""A predictive check as text for people and as plain data for JSON."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

from gpdust.checks.predictions import MAX_STARS

if TYPE_CHECKING:
    from gpdust.checks.check import PredictiveCheck
    from gpdust.checks.groups import Group

WIDTH = 110
RELIABILITY = {
    True: "held-out stars, which the fit has not seen: an honest test",
    False: "stars that were fitted, which have drawn the map towards them: a weaker test, that allows for this only "
    "roughly and says nothing of places between the stars; hold out sightlines for an honest one",
}
DISTANCES = {"marginal": "summed over", "inflate": "put into those of the extinction", "ignore": "not used"}


def as_text(check: PredictiveCheck) -> str:
    """The whole report."""
    found = check.statistics
    sigma, median = found["robust_sigma"], found["median"]
    shares = {
        name: f"{each.value:.2%} ± {each.error:.2%} ({each.expected:.2%})"
        for name, each in found.items()
        if name.startswith(("within", "beyond"))
    }
    lines = [
        f"predictive check of {len(check.predictions)} stars, {check.samples} draws of the map",
        *_wrapped("stars", f"{_which(check)}: {RELIABILITY[check.held_out]}"),
        *_wrapped("treatment", _treatment(check)),
        *_wrapped(
            "residuals",
            f"standardised: median {median.value:+.3f} ± {median.error:.3f} (expected {median.expected:+.3f}), robust "
            f"sigma {sigma.value:.3f} ± {sigma.error:.3f} ({sigma.expected:.3f})",
        ),
        *_wrapped("intervals", "hold (expected) " + ", ".join(f"{k} %: {shares[f'within_{k}']}" for k in (50, 68, 95))),
        *_wrapped("far off", ", ".join(f"beyond {k} sigma: {shares[f'beyond_{k}']}" for k in (3, 5))),
        "",
        *_table("distance / pc", "{low:7.0f} – {high:<7.0f}", check.by_distance),
        "",
        *_table("predicted / mag", "{low:7.3f} – {high:<7.3f}", check.by_extinction),
        "",
        *_sky(check),
        "",
        "verdict",
        *(
            line
            for each in check.verdict
            for line in textwrap.wrap(each, WIDTH, initial_indent="- ", subsequent_indent="  ")
        ),
    ]
    return "\n".join(lines)


def as_record(check: PredictiveCheck) -> dict:
    """Everything but the single stars, as plain data."""
    return {
        "verdict": check.verdict,
        "held_out": check.held_out,
        "reliability": RELIABILITY[check.held_out],
        "stars": {"given": check.given} | asdict(check.predictions.report),
        "samples": check.samples,
        "seed": check.seed,
        "treatment": check.treatment.description(),
        "statistics": {name: asdict(each) for name, each in check.statistics.items()},
        "by_distance": [group.as_dict() for group in check.by_distance],
        "by_extinction": [group.as_dict() for group in check.by_extinction],
        "by_sky": {str(nside): [group.as_dict() for group in groups] for nside, groups in check.by_sky.items()},
    }


def _wrapped(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{name:12}", subsequent_indent=" " * 12)


def _which(check: PredictiveCheck) -> str:
    report = check.predictions.report
    looked_at = report.used + report.too_near + report.too_far
    some = f" (of {MAX_STARS} taken at random)" if looked_at + report.outside < check.given else ""
    return f"{report.used} of {check.given} on the grid{some}"


def _treatment(check: PredictiveCheck) -> str:
    numbers = dict(check.treatment.noise.description())
    kind = numbers.pop("kind")
    noise = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items() if value) or "stated errors only"
    sides = "; lower and upper errors apart" if check.treatment.asymmetric else ""
    return f"distance errors are {DISTANCES[check.treatment.distance]}; noise: {kind} ({noise}){sides}"


def _table(name: str, where: str, groups: list[Group]) -> list[str]:
    head = f"{name:>18} {'stars':>7}  {'median':>16} {'robust sigma':>16} {'measured − predicted / mag':>28}"
    return [head, *(f"{where.format(**group.where):>18} {_numbers(group)}" for group in groups)]


def _numbers(group: Group) -> str:
    median, sigma = f"{group.median:+.3f} ± {group.median_error:.3f}", f"{group.sigma:.3f} ± {group.sigma_error:.3f}"
    return f"{group.stars:7d}  {median:>16} {sigma:>16} {f'{group.excess:+.4f} ± {group.excess_error:.4f}':>28}"


def _sky(check: PredictiveCheck) -> list[str]:
    """The pixels that stand out most, at the finest resolution."""
    nside, groups = max(check.by_sky.items())
    worst = sorted(groups, key=lambda group: -abs(group.significance))[:3]
    head = f"on the sky: {len(groups)} pixels of {58.6 / nside:.2g}°; those that stand out most"
    return [head, *_table("l, b / deg", "{l:7.1f}, {b:+7.1f}", worst)]
