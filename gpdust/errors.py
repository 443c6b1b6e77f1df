"""Errors for people: what was wrong, where, and what to do about it."""


class GpdustError(Exception):
    """Base of all errors that gpdust raises on purpose; the command line shows them without a traceback."""


class CatalogueError(GpdustError, ValueError):
    """A catalogue can't be read or holds no usable star."""


class MissingUnitError(CatalogueError):
    """A column or an argument came without a unit; gpdust never guesses one."""


class ConfigError(GpdustError, ValueError):
    """A configuration file has an unknown key or an unusable value."""


class GridError(GpdustError, ValueError):
    """A region or a grid is impossible: empty, upside down or out of range."""


class InferenceError(GpdustError, RuntimeError):
    """A fit can't go on."""


class DensityOverflow(InferenceError):
    """Densities have left the range of numbers.

    Parameters
    ----------
    what : str
        Where that was found, as a sentence.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: a density has overflowed. Check the prior's mean density and amplitude, and the errors of the "
            "brightest stars"
        )


class PosteriorError(GpdustError, ValueError):
    """A stored posterior or map can't be read, or was asked outside its region."""


class EncoderError(GpdustError, ValueError):
    """The V-net, its simulations or its training can't go on."""
