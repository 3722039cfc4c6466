"""A circuit breaker: what keeps failing is left alone for a while, and one question tries whether it is back."""

from __future__ import annotations

from typing import Final

AFTER: Final = 5
"""Failures in a row that open it."""
FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0


class Breaker:
    """Closed at first. Opened by failures in a row, for a second, and twice as long for each trial that fails, up to 30 s.

    >>> breaker = Breaker()
    >>> for _ in range(AFTER): breaker.failed(now=0.0)
    >>> breaker.allows(0.5), breaker.allows(1.0), breaker.allows(1.0)
    (False, True, False)
    >>> breaker.succeeded()
    >>> breaker.allows(1.1)
    True
    """

    def __init__(self) -> None:
        self._failures = 0
        self._again = 0.0
        self._trying = False
        self.pause = 0.0

    @property
    def open(self) -> bool:
        """Whether it has been given up on for now."""
        return self._failures >= AFTER

    def allows(self, now: float) -> bool:
        """Whether to ask now; when it is open, the one who is told so must report what came of it.

        Args:
            now: seconds of a clock that never goes back.
        """
        if not self.open:
            return True
        if self._trying or now < self._again:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """It answered."""
        self._failures, self._trying, self.pause = 0, False, 0.0

    def failed(self, now: float) -> None:
        """It did not. What fails while it is open and was asked before says nothing new."""
        if self.open and not self._trying:
            return
        self._failures += 1
        if self.open:
            self._trying = False
            self.pause = min(LONGEST_SECONDS, 2 * self.pause or FIRST_SECONDS)
            self._again = now + self.pause
