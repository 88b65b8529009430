"""Which of those who wait are to be told that their place in the queue has changed."""

from __future__ import annotations

import time
from itertools import islice

from bot.turns import Place, Turns

BETWEEN_MOVES = 3.0
"""Seconds between two edits of one message for its place in the queue, at least."""
MOVES = 10
"""Edits for places within that time, of all messages together: Discord's limits are shared."""


class Moves:
    """The places that members were told last, and since when."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._told: dict[int, tuple[int, float]] = {}

    def note(self, place: Place) -> None:
        """Note that a place is told now."""
        self._told[place.job.id] = (place.position, time.monotonic())

    def due(self) -> list[Place]:
        """Return the places to tell now: those that have changed, and are near."""
        waiting = self._turns.waiting
        self._told = {job_id: told for job_id, told in self._told.items() if job_id in waiting}
        return list(islice(filter(self._is_due, self._turns.near()), MOVES))

    def _is_due(self, place: Place) -> bool:
        position, told_at = self._told.get(place.job.id, (0, -BETWEEN_MOVES))
        since = time.monotonic() - told_at
        return position != place.position and since >= BETWEEN_MOVES
