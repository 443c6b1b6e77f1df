"""Ctrl-C between two steps: the step in hand is finished, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupt:
    """A context in which the first Ctrl-C waits until `check` is called; the second does not wait.

    Outside the main thread, where no signals arrive, it does nothing.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: object = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was asked for."""
        if self._asked:
            raise KeyboardInterrupt

    def _ask(self, *_: int | FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
