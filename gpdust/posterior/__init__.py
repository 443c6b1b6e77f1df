"""The fitted posterior and its products."""
