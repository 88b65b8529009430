"""Requests by their answers, and those that are made again, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from bot.metrics.traffic import Traffic


class Site:
    """A server that gives the answers that a test wants, and a session whose requests count."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.url = ""
        self.registry = CollectorRegistry()
        self.session = aiohttp.ClientSession(trace_configs=[Traffic(self.registry).trace])

    async def answer(self, request: web.Request) -> web.Response:
        return web.Response(status=self.answers.pop(0))

    async def ask(self, *answers: int, path: str = "/a") -> None:
        """Ask for the same once for each answer."""
        self.answers += answers
        for _ in answers:
            async with self.session.get(self.url + path):
                pass

    def counted(self, name: str) -> dict[str, float]:
        (family,) = [each for each in self.registry.collect() if each.name == name]
        return {value: s.value for s in family.samples for value in s.labels.values() if s.value}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    application = web.Application()
    application.router.add_get("/{path}", site.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with site.session:
        yield site
    await runner.cleanup()


async def test_answers_count_by_their_class(site: Site) -> None:
    await site.ask(200, 204, 404, 429, 503)
    expected = {"2xx": 2, "4xx": 1, "429": 1, "5xx": 1}
    assert site.counted("fluxbot_discord_requests") == expected


async def test_what_is_asked_again_after_a_fault_is_a_retry(site: Site) -> None:
    await site.ask(500, 429, 200, 200)
    assert site.counted("fluxbot_discord_retries") == {"5xx": 1, "429": 1}


async def test_another_request_is_no_retry(site: Site) -> None:
    await site.ask(500, path="/a")
    await site.ask(200, path="/b")
    await asyncio.create_task(site.ask(503, path="/c"))
    await asyncio.create_task(site.ask(200, path="/c"))
    assert site.counted("fluxbot_discord_retries") == {}


async def test_a_refusal_that_is_final_is_no_reason_for_a_retry(site: Site) -> None:
    await site.ask(403, 200)
    assert site.counted("fluxbot_discord_retries") == {}


async def test_no_answer_counts_as_an_error(site: Site) -> None:
    for _ in range(2):
        with pytest.raises(aiohttp.ClientConnectionError):
            await site.session.get("http://127.0.0.1:9/")
    assert site.counted("fluxbot_discord_requests") == {"error": 2}
    assert site.counted("fluxbot_discord_retries") == {"error": 1}
