"""How well a map meets a known truth: errors, coverage, bias, CRPS, ranks and held-out stars, by stated formulas.

Every cell counts once, whatever its volume, as in the benchmark of Dharmawardena et al. (2022).
"""

from gpdust.scores.cubes import CubeScores, cross_correlation, cube_scores, density_distributions
from gpdust.scores.draws import draw_scores, posterior_scores
from gpdust.scores.formulas import LEVELS, bias_and_scatter, coverage, crps, rank_coverage, relative_error
from gpdust.scores.heldout import log_predictive_density
from gpdust.scores.percentiles import STRUCTURE, DensityScores, density_scores
from gpdust.scores.ranks import RankScores, coverage_band, ecdf_band, rank_scores, truth_ranks, uniformity_p_value
from gpdust.scores.results import PosteriorScores

__all__ = [
    "LEVELS",
    "STRUCTURE",
    "CubeScores",
    "DensityScores",
    "PosteriorScores",
    "RankScores",
    "bias_and_scatter",
    "coverage",
    "coverage_band",
    "cross_correlation",
    "crps",
    "cube_scores",
    "density_distributions",
    "density_scores",
    "draw_scores",
    "ecdf_band",
    "log_predictive_density",
    "posterior_scores",
    "rank_coverage",
    "rank_scores",
    "relative_error",
    "truth_ranks",
    "uniformity_p_value",
]
