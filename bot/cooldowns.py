"""Who asked last when: between two requests of one member some time has to pass."""

from __future__ import annotations

from collections.abc import Callable

LONGEST = 3600.0
"""Seconds after which nobody has to wait any more."""

Who = tuple[int | None, int]
"""A server, and a member there."""


class Cooldowns:
    """The times of the last requests, by a clock that may be set back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[Who, float] = {}

    def left(self, who: Who, seconds: float) -> float:
        """Return how many of these seconds have still to pass."""
        last = self._last.get(who)
        left = 0.0 if last is None else last + seconds - self._clock()
        return left if 0 < left <= seconds else 0.0

    def note(self, who: Who) -> float | None:
        """Note that somebody asks now, and return when they did before."""
        now, before = self._clock(), self._last.get(who)
        self._last = {other: at for other, at in self._last.items() if now - at < LONGEST}
        self._last[who] = now
        return before

    def take_back(self, who: Who, before: float | None) -> None:
        """Forget the last request of somebody: it was in vain."""
        self._last.pop(who, None)
        if before is not None:
            self._last[who] = before
