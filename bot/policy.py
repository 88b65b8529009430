"""Who may ask for what, where and how often: decided before any work, and explained."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from bot.errors import Refused
from bot.inference.tools import TOOLS, Family
from bot.inference.types import Quantization, Request
from bot.records import Look
from bot.settings import DAY, ServerSettings
from bot.storage import Storage
from bot.turns import Limits
from bot.units import counted, format_wait
from bot.words import Blocklist

ASK = "Its moderators decide on that."
MOST_BLOCKLISTS = 100
"""Servers whose blocked words are kept compiled."""
LONGEST_COOLDOWN = 3600.0
MOST_NAMED = 10
"""Channels or roles that one sentence names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """Who asks, and where: all that the rules look at.

    `channel_ids` are the category, the channel and the thread, as far as there are any, in this
    order. `missing` are the permissions that the bot lacks there to answer in public.
    """

    user_id: int
    guild_id: int | None
    channel_ids: tuple[int, ...] = ()
    role_ids: frozenset[int] = frozenset()
    age_restricted: bool = False
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """What was asked for, as the rules have it, and how the answer is to look."""

    request: Request
    private: bool
    spoiler: bool
    look: Look
    limits: Limits


class Policy:
    """The rules of the operator and of the servers.

    `servers` are those that the bot serves, all of them if none is named; `quantization` is what
    holds where a server has set none. `pending` tells how many seconds the jobs will take that a
    server, or a member there, already waits for.
    """

    def __init__(
        self,
        storage: Storage,
        family: Family,
        *,
        servers: frozenset[int] = frozenset(),
        direct_messages: bool = True,
        quantization: Quantization = "8-bit",
        pending: Callable[[int, int | None], float] = lambda guild_id, user_id: 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._family = family
        self._servers = servers
        self._direct_messages = direct_messages
        self._quantization = quantization
        self._pending = pending
        self._clock = clock
        self._last: dict[tuple[int, int], float] = {}
        self._blocklists: dict[tuple[tuple[str, ...], tuple[str, ...]], Blocklist] = {}

    async def settings(self, visit: Visit) -> ServerSettings:
        """Return what is set where somebody asks."""
        return await self._storage.settings.at(visit.guild_id, *visit.channel_ids)

    @asynccontextmanager
    async def admission(
        self,
        visit: Visit,
        request: Request,
        *,
        private: bool | None,
        spoiler: bool,
        counts: bool = True,
    ) -> AsyncIterator[Admission]:
        """Admit a request; raise Refused.

        The options are as they were given: `private` is None where nothing was said. It `counts`
        for the cooldown, unless what follows fails.
        """
        settings = await self.settings(visit)
        private = settings.private if private is None else private
        self._check_place(visit, settings, private=private)
        self._check_member(visit, settings)
        self._check_request(request, settings)
        await self._check_words(request, settings)
        factor = _factor(visit, settings)
        await self._check_seconds(visit, settings, factor)
        before = self._check_cooldown(visit, settings, factor) if counts else None
        look = settings.look(age_restricted=visit.age_restricted)
        request = replace(
            self._bounded(request, settings),
            classify=look.verdict != "off",
            language=look.language,
        )
        try:
            yield Admission(
                request=request,
                private=private,
                spoiler=settings.spoiler == "always" or (spoiler and settings.spoiler != "never"),
                look=look,
                limits=Limits(
                    member=settings.waiting_per_member * factor, server=settings.waiting_per_server
                ),
            )
        except BaseException:
            if counts:
                self._forget_visit(visit, before)
            raise

    def _check_place(self, visit: Visit, settings: ServerSettings, *, private: bool) -> None:
        if visit.guild_id is None:
            if not self._direct_messages:
                raise Refused("The operator has switched direct messages off.", "Ask in a server.")
        elif self._servers and visit.guild_id not in self._servers:
            raise Refused(
                "The bot does not serve this server.", "Its operator can add it to ALLOWED_SERVERS."
            )
        if denied := _first(visit.channel_ids, settings.denied_channels):
            raise Refused(f"The bot is switched off in <#{denied}>.", "Use another channel.")
        allowed = settings.allowed_channels
        if allowed and not _first(visit.channel_ids, allowed):
            raise Refused(
                "The bot is not to be used in this channel.", f"Use {_named('#', allowed)}."
            )
        if settings.age_restricted_only and not visit.age_restricted:
            raise Refused(
                "In this server the bot works in age-restricted channels alone.", "Use one of them."
            )
        if visit.missing and not private:
            raise Refused(
                f"The bot may not {_joined(visit.missing)} in this channel.",
                "Use another one, or `private:True`; whoever manages the server can allow it.",
            )

    def _check_member(self, visit: Visit, settings: ServerSettings) -> None:
        ban = settings.banned_members.get(visit.user_id)
        if ban is not None and (ban.until is None or ban.until > self._clock()):
            reason = f": {ban.reason.rstrip('.')}" if ban.reason else ""
            end = "" if ban.until is None else f" until <t:{ban.until:.0f}:f>"
            raise Refused(
                f"You may not use the bot in this server{end}{reason}.",
                "Its moderators can take that back.",
            )
        if denied := _first(settings.denied_roles, visit.role_ids):
            raise Refused(f"Members with the role <@&{denied}> may not use the bot here.", ASK)
        allowed = settings.allowed_roles
        if allowed and not visit.role_ids.intersection(allowed):
            roles = _named("@&", allowed)
            raise Refused(f"Here the bot is for members with the role {roles}.", ASK)

    def _check_request(self, request: Request, settings: ServerSettings) -> None:
        if request.tool not in settings.tools:
            tools = ", ".join(TOOLS[name].title for name in settings.tools)
            raise Refused(
                f"{TOOLS[request.tool].title} is switched off here.", f"There is {tools}."
            )
        locked = settings.quantization or self._quantization
        if settings.quantization_locked and request.quantization != locked:
            raise Refused(f"`quantization` is always {locked} here.", "Ask without it.")
        if request.count > settings.max_count:
            raise Refused(
                f"`count` is {request.count}, and {settings.max_count} at most is allowed here.",
                "Ask for fewer.",
            )
        # its steps were checked when it was made, but a setting may have changed since
        if request.num_inference_steps > settings.max_steps:
            raise Refused(
                f"These are {request.num_inference_steps} steps, and {settings.max_steps} at most"
                " are allowed here.",
                "Ask for fewer.",
            )
        if request.width is not None and request.height is not None:
            width, height = self._family.pixels(settings.max_size)
            if request.width * request.height > width * height:
                raise Refused(
                    f"{request.width}×{request.height} pixels are more than is allowed here.",
                    f"Choose `size:{settings.max_size}`.",
                )

    async def _check_words(self, request: Request, settings: ServerSettings) -> None:
        lists = settings.blocked_words, settings.blocked_patterns
        if not any(lists) or not request.prompt:
            return
        # in a thread: patterns can be made up to take a second
        if await asyncio.to_thread(self._find, lists, request.prompt) is not None:
            # not which one: that would be a way to read the list
            raise Refused("The prompt holds something that is not allowed here.", "Reword it.")

    def _find(self, lists: tuple[tuple[str, ...], tuple[str, ...]], prompt: str) -> str | None:
        blocklist = self._blocklists.get(lists)
        if blocklist is None:
            if len(self._blocklists) >= MOST_BLOCKLISTS:
                self._blocklists.clear()
            blocklist = self._blocklists[lists] = Blocklist(*lists)
        return blocklist.find(prompt)

    async def _check_seconds(self, visit: Visit, settings: ServerSettings, factor: float) -> None:
        """Look at the last 24 hours, and at what waits already."""
        if visit.guild_id is None:
            return
        for whose, limit, user_id in (
            ("You have", settings.seconds_per_member * factor, visit.user_id),
            ("This server has", float(settings.seconds_per_server), None),
        ):
            if not limit or math.isinf(limit):
                continue
            usage = await self._storage.usage(self._clock() - DAY, visit.guild_id, user_id)
            over = sum(seconds for _, seconds in usage) - limit
            over += self._pending(visit.guild_id, user_id)
            if over >= 0:
                raise Refused(
                    f"{whose} used up the time on the GPU for 24 hours, {format_wait(limit)}.",
                    _when_free(usage, over),
                )

    def _check_cooldown(
        self, visit: Visit, settings: ServerSettings, factor: float
    ) -> float | None:
        """Note the time of a visit, and return that of the one before."""
        if visit.guild_id is None or not settings.cooldown:
            return None
        # who has twice the limits waits half as long
        cooldown = settings.cooldown / factor
        now, who = self._clock(), (visit.guild_id, visit.user_id)
        before = self._last.get(who)
        left = 0.0 if before is None else before + cooldown - now
        if 0 < left <= cooldown:
            raise Refused(
                f"Here {format_wait(cooldown)} pass between two requests.",
                f"Please wait {format_wait(left)}.",
            )
        self._last = {w: at for w, at in self._last.items() if now - at < LONGEST_COOLDOWN}
        self._last[who] = now
        return before

    def _forget_visit(self, visit: Visit, before: float | None) -> None:
        if visit.guild_id is None:
            return
        self._last.pop((visit.guild_id, visit.user_id), None)
        if before is not None:
            self._last[visit.guild_id, visit.user_id] = before

    def _bounded(self, request: Request, settings: ServerSettings) -> Request:
        """Return a request that does not take after a large image more than is allowed."""
        if request.width is not None:
            return request
        return replace(request, max_pixels=math.prod(self._family.pixels(settings.max_size)))


def _factor(visit: Visit, settings: ServerSettings) -> float:
    """Return how many times the limits a member has, by the best of their roles."""
    factors = [settings.role_factors[r] for r in visit.role_ids if r in settings.role_factors]
    if not factors:
        return 1.0
    return math.inf if 0 in factors else max(factors)


def _when_free(usage: list[tuple[float, float]], over: float) -> str:
    """Return from when on there are seconds again: when enough of them are a day old."""
    for ended_at, seconds in usage:
        over -= seconds
        if over < 0:
            return f"There are some again <t:{ended_at + DAY:.0f}:R>."
    return "Please wait until what you have asked for is done."


def _first(ids: Iterable[int], among: Collection[int]) -> int | None:
    return next((each for each in ids if each in among), None)


def _named(sign: str, ids: tuple[int, ...]) -> str:
    """Return channels or roles as mentions, not more of them than a sentence takes."""
    named = " or ".join(f"<{sign}{each}>" for each in ids[:MOST_NAMED])
    more = len(ids) - MOST_NAMED
    return named if more <= 0 else f"{named}, or {counted(more, 'other')}"


def _joined(words: tuple[str, ...]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
