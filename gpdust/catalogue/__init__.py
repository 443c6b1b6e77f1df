"""Stars in: readers, column presets, validation and selection."""

from gpdust.catalogue.catalogue import StarCatalogue
from gpdust.catalogue.presets import PRESETS, Preset
from gpdust.catalogue.validation import ValidationReport

__all__ = ["PRESETS", "Preset", "StarCatalogue", "ValidationReport"]
