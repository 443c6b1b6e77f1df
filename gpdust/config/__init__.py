"""The configuration of a fit: what may stand in the TOML file, and what is made of it."""

from gpdust.config.config import Config
from gpdust.config.sections import (
    CatalogueSection,
    FitSection,
    GridSection,
    InducingSection,
    LikelihoodSection,
    MapsSection,
    NewtonSection,
    PriorSection,
    RegionSection,
    SpectralSection,
    SVISection,
)

__all__ = [
    "CatalogueSection",
    "Config",
    "FitSection",
    "GridSection",
    "InducingSection",
    "LikelihoodSection",
    "MapsSection",
    "NewtonSection",
    "PriorSection",
    "RegionSection",
    "SVISection",
    "SpectralSection",
]
