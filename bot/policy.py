"""Who may ask for what, where and how often: decided before any work, and explained."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from bot.allowance import (
    Allowance,
    Spent,
    cooldown_of,
    factor_of,
    seconds_limits,
    waiting_limits,
)
from bot.cooldowns import Cooldowns
from bot.errors import Refused
from bot.i18n import N_, _
from bot.inference.sweeps import variations
from bot.inference.tools import Family
from bot.inference.types import Quantization, Request
from bot.records import Look
from bot.rules import Visit, check_member, check_place, check_quantization, check_request
from bot.settings import DAY, ServerSettings
from bot.storage import Storage
from bot.turns import Limits
from bot.units import format_wait
from bot.words import Blocklist

MOST_BLOCKLISTS = 100
"""Servers whose blocked words are kept compiled."""
AHEAD = 3600.0
"""Seconds that work may have ended in the future: clocks are set, though seldom by much."""

YOURS_USED_UP = N_("You have used up the time on the GPU for 24 hours, {time}.")
SERVERS_USED_UP = N_("This server has used up the time on the GPU for 24 hours, {time}.")


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
        self._cooldowns = Cooldowns(clock)
        self._blocklists: dict[tuple[tuple[str, ...], tuple[str, ...]], Blocklist] = {}

    async def settings(self, visit: Visit) -> ServerSettings:
        """Return what is set where somebody asks."""
        return await self._storage.settings.at(visit.guild_id, *visit.channel_ids)

    def quantization(self, settings: ServerSettings) -> Quantization:
        """Return what a request gets that names none: the server's, else the operator's."""
        return settings.quantization or self._quantization

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
        self._check_whether(visit, settings, private=private)
        for each in variations(request):
            check_request(each, settings, self._family)
        if settings.quantization_locked:
            check_quantization(request, self.quantization(settings))
        await self._check_words(request, settings)
        factor = factor_of(visit.role_ids, settings)
        await self._check_seconds(visit, settings, factor)
        before = self._check_cooldown(visit, settings, factor) if counts else None
        look = settings.look(age_restricted=visit.age_restricted)
        look = replace(look, tools=tuple(n for n in self._family.tools() if n in look.tools))
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
                limits=waiting_limits(settings, factor),
            )
        except BaseException:
            if counts:
                self._cooldowns.take_back((visit.guild_id, visit.user_id), before)
            raise

    async def allowance(self, visit: Visit) -> Allowance:
        """Return what a member may still do where they are."""
        settings = await self.settings(visit)
        factor = factor_of(visit.role_ids, settings)
        mine, ours = seconds_limits(settings, factor)
        cooldown = 0.0 if visit.guild_id is None else cooldown_of(settings, factor)
        return Allowance(
            refusal=self._refusal(visit, settings),
            factor=factor,
            waiting=waiting_limits(settings, factor),
            mine=await self._spent(visit.guild_id, visit.user_id, mine),
            ours=await self._spent(visit.guild_id, None, ours),
            cooldown=cooldown,
            wait=self._cooldowns.left((visit.guild_id, visit.user_id), cooldown),
            max_count=settings.max_count,
            max_steps=settings.max_steps,
            max_size=self._family.pixels(settings.max_size),
            quantization=self.quantization(settings),
            is_quantization_locked=settings.quantization_locked,
        )

    def _refusal(self, visit: Visit, settings: ServerSettings) -> str | None:
        try:
            self._check_whether(visit, settings, private=settings.private)
        except Refused as refused:
            return str(refused)
        return None

    def _check_whether(self, visit: Visit, settings: ServerSettings, *, private: bool) -> None:
        """Raise Refused where a member may ask for nothing at all."""
        self._check_server(visit.guild_id)
        check_place(visit, settings, private=private)
        check_member(visit, settings, self._clock())

    def _check_server(self, guild_id: int | None) -> None:
        if guild_id is None:
            if not self._direct_messages:
                raise Refused(
                    _("The operator has switched direct messages off."), _("Ask in a server.")
                )
        elif self._servers and guild_id not in self._servers:
            raise Refused(
                _("The bot does not serve this server."),
                _("Its operator can add it to ALLOWED_SERVERS."),
            )

    async def _check_words(self, request: Request, settings: ServerSettings) -> None:
        lists = settings.blocked_words, settings.blocked_patterns
        if not any(lists):
            return
        sought = request.region.words if request.region is not None else None
        for text in filter(None, (request.prompt, sought)):
            # in a thread: patterns can be made up to take a second
            if await asyncio.to_thread(self._find, lists, text) is not None:
                # not which one: that would be a way to read the list
                raise Refused(
                    _("The prompt holds something that is not allowed here."), _("Reword it.")
                )

    def _find(self, lists: tuple[tuple[str, ...], tuple[str, ...]], prompt: str) -> str | None:
        blocklist = self._blocklists.get(lists)
        if blocklist is None:
            if len(self._blocklists) >= MOST_BLOCKLISTS:
                self._blocklists.clear()
            blocklist = self._blocklists[lists] = Blocklist(*lists)
        return blocklist.find(prompt)

    async def _check_seconds(self, visit: Visit, settings: ServerSettings, factor: float) -> None:
        """Look at the last 24 hours, and at what waits already."""
        mine, ours = seconds_limits(settings, factor)
        for used_up, limit, user_id in (
            (YOURS_USED_UP, mine, visit.user_id),
            (SERVERS_USED_UP, ours, None),
        ):
            if math.isinf(limit):
                continue
            spent = await self._spent(visit.guild_id, user_id, limit)
            if spent is not None and not spent.left:
                raise Refused(_(used_up, time=format_wait(limit)), spent.when_free())

    async def _spent(self, guild_id: int | None, user_id: int | None, limit: float) -> Spent | None:
        if guild_id is None:
            return None
        return Spent(
            usage=await self._used(guild_id, user_id),
            pending=self._pending(guild_id, user_id),
            limit=limit,
        )

    async def _used(self, guild_id: int, user_id: int | None) -> list[tuple[float, float]]:
        now = self._clock()
        used = await self._storage.usage(now - DAY, guild_id, user_id)
        # what lies ahead was noted by a clock that was wrong: it would count until then
        return [(ended_at, seconds) for ended_at, seconds in used if ended_at < now + AHEAD]

    def _check_cooldown(
        self, visit: Visit, settings: ServerSettings, factor: float
    ) -> float | None:
        """Note the time of a visit, and return that of the one before."""
        if visit.guild_id is None or not settings.cooldown:
            return None
        cooldown, who = cooldown_of(settings, factor), (visit.guild_id, visit.user_id)
        if left := self._cooldowns.left(who, cooldown):
            raise Refused(
                _("Here {time} pass between two requests.", time=format_wait(cooldown)),
                _("Please wait {time}.", time=format_wait(left)),
            )
        return self._cooldowns.note(who)

    def _bounded(self, request: Request, settings: ServerSettings) -> Request:
        """Return a request that does not take after a large image more than is allowed."""
        if request.width is not None:
            return request
        return replace(request, max_pixels=math.prod(self._family.pixels(settings.max_size)))
