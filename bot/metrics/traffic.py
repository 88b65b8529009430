"""How Discord answers requests, and how often one has to be made again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from prometheus_client import CollectorRegistry, Counter

RATE_LIMITED = 429
OUTCOMES = ("2xx", "4xx", "429", "5xx", "error")
FAULTS = ("429", "5xx", "error")
"""Outcomes after which the same request may be made again."""

Order = tuple[str, str]


class Traffic:
    """Counts the HTTP requests of discord.py; its `trace` is to be that of the client's session.

    A request counts as made again when the task whose last one failed asks for the same: so do the
    attempts of discord.py itself, and those of the ladder.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "fluxbot_discord_requests",
            "HTTP requests to Discord by the class of their answer; error: there was none.",
            ["outcome"],
            registry=registry,
        )
        self._retries = Counter(
            "fluxbot_discord_retries",
            "HTTP requests to Discord that were made again, by what the one before came to.",
            ["cause"],
            registry=registry,
        )
        for outcome in OUTCOMES:
            self._requests.labels(outcome)
        for cause in FAULTS:
            self._retries.labels(cause)
        self._failed: WeakKeyDictionary[asyncio.Task[Any], tuple[Order, str]] = WeakKeyDictionary()
        self.trace = aiohttp.TraceConfig()
        self.trace.on_request_start.append(self._start)
        self.trace.on_request_end.append(self._end)
        self.trace.on_request_exception.append(self._break)

    async def _start(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        about: aiohttp.TraceRequestStartParams,
    ) -> None:
        failed, cause = self._failed.pop(_task(), (None, ""))
        if failed == (about.method, str(about.url)):
            self._retries.labels(cause).inc()

    async def _end(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        about: aiohttp.TraceRequestEndParams,
    ) -> None:
        self._note((about.method, str(about.url)), _outcome(about.response.status))

    async def _break(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        about: aiohttp.TraceRequestExceptionParams,
    ) -> None:
        self._note((about.method, str(about.url)), "error")

    def _note(self, order: Order, outcome: str) -> None:
        self._requests.labels(outcome).inc()
        if outcome in FAULTS:
            self._failed[_task()] = order, outcome


def _task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _outcome(status: int) -> str:
    return "429" if status == RATE_LIMITED else f"{status // 100}xx"
