"""gpdust: posteriors over the three-dimensional density of interstellar dust."""

__version__ = "0.1.0"
