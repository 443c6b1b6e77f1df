"""What scoring a posterior gives: plain numbers, for people and for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gpdust.scores.formulas import LEVELS


@dataclass(frozen=True)
class PosteriorScores:
    """What `posterior_scores` and `draw_scores` return; plain numbers.

    Attributes
    ----------
    cells, structure_cells, draws : int
        How many cells were scored, how many of them are dense structure, and by how many draws.
    error_median, error_p90 : float
        Median and 90th percentile over cells of |ρ − ρ_true| / ρ_true, of the median density.
    structure_error_median, structure_error_p90 : float or None
        The same over cells of dense structure only; None where there are none.
    extinction_bias, extinction_scatter : float
        Mean and standard deviation over cells of A − A_true at the cells' outer edges, of the median A, mag.
    density_coverage, structure_coverage, extinction_coverage : dict of int to float
        Per cent → fraction of cells whose truth lies in the central interval of that level: of density in all cells and
        in dense structure, of extinction at outer edges. See `rank_coverage`.
    log_density_crps, density_crps, extinction_crps : float
        Mean over cells of the CRPS of log10 ρ (dex), ρ (mag/pc) and A (mag).
    held_out_stars : int
        How many stars were held out.
    held_out_log_density : float or None
        Mean over them of the log predictive density, ln mag⁻¹; None without such stars.
    """

    cells: int
    structure_cells: int
    draws: int
    error_median: float
    error_p90: float
    structure_error_median: float | None
    structure_error_p90: float | None
    extinction_bias: float
    extinction_scatter: float
    density_coverage: dict[int, float]
    structure_coverage: dict[int, float] | None
    extinction_coverage: dict[int, float]
    log_density_crps: float
    density_crps: float
    extinction_crps: float
    held_out_stars: int = 0
    held_out_log_density: float | None = None

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the scores by name, for JSON; coverages as ``density_coverage_68`` and so on."""
        flat = {}
        for name, value in asdict(self).items():
            if name.endswith("_coverage"):
                flat |= {f"{name}_{level}": value[level] if value else None for level in LEVELS}
            else:
                flat[name] = value
        return flat

    def __str__(self) -> str:
        dense = held_out = "there are none"
        if self.structure_cells:
            dense = f"median {self.structure_error_median:.1%}, 90th percentile {self.structure_error_p90:.1%}"
        if self.held_out_stars:
            held_out = f"ln predictive density {self.held_out_log_density:+.3f} a star"
        lines = [
            ("relative density error", f"median {self.error_median:.1%}, 90th percentile {self.error_p90:.1%}"),
            (f"  in {self.structure_cells} dense cells", dense),
            ("extinction", f"bias {self.extinction_bias:+.4f} mag, scatter {self.extinction_scatter:.4f} mag"),
            ("intervals hold, density", _spoken(self.density_coverage)),
            ("  in dense cells", _spoken(self.structure_coverage)),
            ("  extinction", _spoken(self.extinction_coverage)),
            ("CRPS of log10 density", f"{self.log_density_crps:.3g} dex"),
            ("CRPS of density", f"{self.density_crps:.3g} mag/pc"),
            ("CRPS of extinction", f"{self.extinction_crps:.3g} mag"),
            (f"{self.held_out_stars} stars held out", held_out),
        ]
        return "\n".join(f"{name:28} {value}" for name, value in lines)


def _spoken(coverage: dict[int, float] | None) -> str:
    if coverage is None:
        return "there are none"
    return ", ".join(f"{level} %: {found:.1%}" for level, found in coverage.items())
