"""True densities and mock surveys: data of which the answer is known."""

from gpdust.simulate.chunks import mock_catalogues
from gpdust.simulate.clumps import clump_density, simulated_clumps
from gpdust.simulate.components import ExponentialDisc, Filament, GaussianClump, Sheet, Shell, UniformDensity
from gpdust.simulate.density import SumDensity, TrueDensity
from gpdust.simulate.errormodel import ErrorModel
from gpdust.simulate.priors import prior_truth
from gpdust.simulate.regions import MOCK_REGIONS, MockRegion
from gpdust.simulate.structures import sheet_density, wide_range_density
from gpdust.simulate.survey import MockSurvey, mock_survey
from gpdust.simulate.truth import GridTruth
from gpdust.simulate.visibility import MagnitudeLimit

__all__ = [
    "MOCK_REGIONS",
    "ErrorModel",
    "ExponentialDisc",
    "Filament",
    "GaussianClump",
    "GridTruth",
    "MagnitudeLimit",
    "MockRegion",
    "MockSurvey",
    "Sheet",
    "Shell",
    "SumDensity",
    "TrueDensity",
    "UniformDensity",
    "clump_density",
    "mock_catalogues",
    "mock_survey",
    "prior_truth",
    "sheet_density",
    "simulated_clumps",
    "wide_range_density",
]
