"""A progress bar with the ELBO and the time left."""

from __future__ import annotations

from tqdm import tqdm

LONGER = 100  # steps


class Progress:
    """One bar for a whole fit.

    Parameters
    ----------
    total : int
        Steps that a fit usually takes: the time left is an estimate. A fit that goes on makes the bar longer.
    done : int
        Steps already taken, where a fit is resumed.
    shown : bool
        False for a silent fit.
    """

    def __init__(self, total: int, done: int = 0, shown: bool = True) -> None:
        self._bar = tqdm(total=total, initial=done, disable=not shown, unit="step", desc="fit", dynamic_ncols=True)

    def step(self, phase: str, tempering: float, elbo: float) -> None:
        """Count one step."""
        weight = f", likelihood × {tempering:.1e}" if tempering < 1 else ""
        self._bar.set_description_str(f"fit ({phase}{weight})", refresh=False)
        self._bar.set_postfix_str(f"ELBO {elbo:,.1f}", refresh=False)
        if self._bar.n >= self._bar.total:
            self._bar.total += LONGER
        self._bar.update()

    def end(self) -> None:
        """Close the bar where it stands."""
        self._bar.total = self._bar.n
        self._bar.refresh()
        self._bar.close()
