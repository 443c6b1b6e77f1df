"""Stars in: readers, column presets, validation and selection."""

from gpdust.catalogue.catalogue import StarCatalogue
from gpdust.catalogue.presets import PRESETS, Preset
from gpdust.catalogue.sightlines import hold_out_sightlines
from gpdust.catalogue.validation import ValidationReport

__all__ = ["PRESETS", "Preset", "StarCatalogue", "ValidationReport", "hold_out_sightlines"]
