"""`/metrics`, `/healthz` and `/readyz` of a bot that is not connected, and where they are not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, replace

import aiohttp
import pytest
import pytest_asyncio

from bot.application import Application, application
from bot.config import Settings
from bot.errors import ConfigurationError
from bot.metrics.endpoints import endpoints
from tests.doubles import HeldExecutor


@dataclass
class Served:
    """A bot that is not logged in, its pages, and the event that is set when it is to stop."""

    app: Application
    stop: asyncio.Event
    url: str

    async def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Return status, content type and text of a page."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + path, headers=headers) as response,
        ):
            return response.status, response.headers["Content-Type"], await response.text()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("data")
    settings = Settings(flux_models="tiny", data_dir=folder, metrics_port=port)
    stop = asyncio.Event()
    async with application(settings, HeldExecutor()) as app, app.client, endpoints(app, stop):
        yield Served(app, stop, f"http://127.0.0.1:{port}")


async def test_the_metrics_are_in_the_format_that_is_asked_for(served: Served) -> None:
    status, kind, text = await served.get("/metrics")
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert 'fluxbot_jobs_total{state="delivered",tool="schnell"} 0.0\n' in text
    assert 'family="tiny"' in text
    wanted = "application/openmetrics-text; version=1.0.0"
    status, kind, text = await served.get("/metrics", Accept=wanted)
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


async def test_a_bot_that_is_not_logged_in_is_well_but_not_ready(served: Served) -> None:
    assert (await served.get("/healthz"))[::2] == (200, "ok\n")
    sentence = "The bot has not logged in to Discord yet.\n"
    assert (await served.get("/readyz"))[::2] == (503, sentence)


async def test_a_bot_that_is_being_stopped_is_well_but_not_ready(served: Served) -> None:
    served.stop.set()
    try:
        assert (await served.get("/readyz"))[::2] == (503, "The bot is being stopped.\n")
        assert (await served.get("/healthz"))[0] == 200
    finally:
        served.stop.clear()


async def test_there_is_nothing_else(served: Served) -> None:
    assert (await served.get("/"))[0] == 404


async def test_a_port_that_is_taken_is_one_sentence(served: Served) -> None:
    port = served.app.client.settings.metrics_port
    with pytest.raises(ConfigurationError) as caught:
        async with endpoints(served.app, served.stop):
            pass
    assert str(caught.value) == (
        f"METRICS_PORT is `{port}`, where nothing can listen at 127.0.0.1 (address already in use)."
        " Allowed: a port that is free at METRICS_HOST, or empty."
    )


async def test_without_a_port_nothing_listens(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # with the port it would be refused, as above
    settings = replace(served.app.client.settings, metrics_port=None)
    monkeypatch.setattr(served.app.client, "settings", settings)
    async with endpoints(served.app, served.stop):
        pass


async def test_a_client_that_is_closed_is_for_a_restart(served: Served) -> None:
    await served.app.client.close()
    sentence = "The connection to Discord is closed for good.\n"
    assert (await served.get("/healthz"))[::2] == (503, sentence)
    assert (await served.get("/readyz"))[::2] == (503, sentence)
