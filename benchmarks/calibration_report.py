"""What calibration.py prints and draws: a table of each case, a summary in Markdown, the distributions of all ranks."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from gpdust.plot import plot_ranks, save_figure
from gpdust.scores import LEVELS, RankScores, coverage_band, rank_scores

KINDS = ("density, all cells", "extinction, all cells", "held-out stars")  # of which coverage is reported
REJECTED = 1e-3  # p-value after Bonferroni's correction for the number of quantities
BOUNDS = {68: 0.05, 95: 0.03}  # of the coverage of log-normal densities, over all cells


def scores(row: dict) -> dict[str, RankScores]:
    """The scores of each quantity of a case."""
    return {name: rank_scores(np.array(ranks), row["draws"]) for name, ranks in row["ranks"].items()}


def corrected(row: dict) -> tuple[str, float]:
    """The quantity that strays farthest from uniform ranks, and its p-value times the number of quantities."""
    found = scores(row)
    name = min(found, key=lambda name: found[name].p_value)
    return name, min(1.0, found[name].p_value * len(found))


def title(row: dict) -> str:
    """What a case is called."""
    return f"{row['case']}, {row['distances']} distances, {row['engine']}"


def table(row: dict) -> str:
    """The quantities of a case, a line each; what lies outside its 95 % band of binomial coverage has a star."""
    runs = len(next(iter(row["ranks"].values())))
    lines = [
        f"{title(row)}: {runs} runs, {row['seconds'] / runs:.2f} s each, {row['not_converged']} not converged; "
        f"{row['failed']} more failed",
        f"{'':22}       p   offset  scatter " + "".join(f"   {level} %  " for level in LEVELS),
    ]
    for name, found in scores(row).items():
        shares = ""
        for level, share in found.coverage.items():
            low, high = coverage_band(runs, level)
            shares += f"  {share:.3f}{' ' if low <= share <= high else '*'} "
        lines.append(f"{name:22} {found.p_value:7.1e} {found.offset:+8.2f} {found.scatter:8.2f} {shares}")
    bands = "".join("  {:.2f}–{:.2f}".format(*coverage_band(runs, level))[:11].ljust(11) for level in LEVELS)
    lines.append(f"{'binomial 95 %':48}{bands}")
    for kind, shares in row["coverage"].items():
        pairs = zip(shares, row["coverage_error"][kind], strict=True)
        lines.append(f"{kind:22} " + ", ".join(f"{share:.3f} ± {error:.3f}" for share, error in pairs))
    return "\n".join(lines)


def verdict(row: dict) -> str:
    """Whether a case meets its target."""
    if row["case"] == "linear":
        return "met" if corrected(row)[1] >= REJECTED else "MISSED"
    found = dict(zip(LEVELS, row["coverage"][KINDS[0]], strict=True))
    return "met" if all(abs(found[level] - level / 100) <= bound for level, bound in BOUNDS.items()) else "MISSED"


def summary(rows: list[dict]) -> str:
    """All cases in a table, Markdown."""
    lines = [
        "| case | distances | engine | smallest p, corrected "
        "| density 50, 68, 95 % | extinction | held-out stars | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name, p_value = corrected(row)
        cells = [
            ", ".join(f"{share:.3f}" for share in shares) + f" (± {row['coverage_error'][kind][1]:.3f})"
            for kind, shares in row["coverage"].items()
        ]
        words = [row["case"], row["distances"], row["engine"], f"{p_value:.2g} ({name})", *cells, verdict(row)]
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


def draw_figure(rows: list[dict], path: Path) -> Path:
    """Draw the ranks of all quantities, a panel for each case."""
    columns = len({row["engine"] for row in rows})
    lines = -(-len(rows) // columns)
    size = (3.4 * columns + 1.8, 2.0 * lines + 0.4)
    figure, panels = plt.subplots(
        lines, columns, figsize=size, sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    for row, axes in zip(rows, panels.flat, strict=True):
        ranks = {name: np.array(values) for name, values in row["ranks"].items()}
        plot_ranks(ranks, row["draws"], axes=axes)
        axes.set_title(title(row), fontsize="medium")
        axes.label_outer()
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize="small")
    save_figure(figure, path)
    plt.close(figure)
    return path
