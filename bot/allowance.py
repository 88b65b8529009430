"""What a member may still do in one place: the limits that their requests are held to."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bot.i18n import _
from bot.inference.types import Quantization
from bot.settings import DAY, ServerSettings
from bot.turns import Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """The seconds of the GPU that one had in 24 hours, and how many there may be.

    In `usage` is when work has ended and its seconds, the oldest first. What waits already counts
    too, with the `pending` seconds. A limit of infinity is none.
    """

    usage: Sequence[tuple[float, float]]
    pending: float
    limit: float

    @property
    def seconds(self) -> float:
        """How many they are."""
        return self.pending + sum(seconds for ended_at, seconds in self.usage)

    @property
    def left(self) -> float:
        """How many there are still to be had."""
        return max(0.0, self.limit - self.seconds)

    def when_free(self) -> str:
        """Return from when on there are seconds again: when enough of them are a day old."""
        over = self.seconds - self.limit
        for ended_at, seconds in self.usage:
            over -= seconds
            if over < 0:
                return _("There are some again {when}.", when=f"<t:{ended_at + DAY:.0f}:R>")
        return _("Please wait until what you have asked for is done.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """What a member may do, all roles and channels considered.

    `refusal` says why they may do nothing there. Limits of members count `factor` times for them.
    `mine` and `ours` are the seconds of the member and of the server, None where nobody counts any.
    Between two requests `cooldown` seconds have to pass, of which `wait` are left.
    """

    refusal: str | None
    factor: float
    waiting: Limits
    mine: Spent | None
    ours: Spent | None
    cooldown: float
    wait: float
    max_count: int
    max_steps: int
    max_size: tuple[int, int]
    quantization: Quantization
    is_quantization_locked: bool


def factor_of(role_ids: Collection[int], settings: ServerSettings) -> float:
    """Return how many times the limits a member has, by the best of their roles."""
    factors = [settings.role_factors[r] for r in role_ids if r in settings.role_factors]
    if not factors:
        return 1.0
    return math.inf if 0 in factors else max(factors)


def waiting_limits(settings: ServerSettings, factor: float) -> Limits:
    """Return how many jobs may wait."""
    return Limits(member=settings.waiting_per_member * factor, server=settings.waiting_per_server)


def seconds_limits(settings: ServerSettings, factor: float) -> tuple[float, float]:
    """Return how many seconds of the GPU a member has in 24 hours, and how many the server."""
    mine, ours = settings.seconds_per_member, settings.seconds_per_server
    return mine * factor if mine else math.inf, float(ours) if ours else math.inf


def cooldown_of(settings: ServerSettings, factor: float) -> float:
    """Return the seconds between two requests; who has twice the limits waits half as long."""
    return settings.cooldown / factor
