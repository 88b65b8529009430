"""When a bot is ready, and what it says where it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.config import Settings
from bot.metrics.health import Health
from tests.conftest import Scene, open_scene
from tests.doubles import HeldExecutor


@pytest.fixture
async def scene(settings: Settings) -> AsyncIterator[Scene]:
    async with open_scene(settings, HeldExecutor()) as scene:
        yield scene


@pytest.fixture
def health(scene: Scene) -> Health:
    app = scene.app
    return Health(client=app.client, shards=app.metrics.shards, stop=asyncio.Event())


async def test_a_bot_that_is_connected_and_has_a_worker_is_ready(health: Health) -> None:
    assert health.fault() is None
    assert health.obstacle() is None


async def test_a_shard_that_is_not_connected_makes_it_unready_until_it_is(
    health: Health, scene: Scene
) -> None:
    client = scene.app.client
    client.dispatch("shard_disconnect", 3)
    await asyncio.sleep(0)
    assert health.fault() is None
    assert health.obstacle() == "Not connected to Discord's gateway: shard 3."
    client.dispatch("shard_resumed", 3)
    await asyncio.sleep(0)
    assert health.obstacle() is None


async def test_an_executor_that_can_begin_nothing_makes_it_unready(
    health: Health, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.app.executor, "ready_workers", 0)
    assert health.fault() is None
    assert health.obstacle() == "No inference process is ready."
