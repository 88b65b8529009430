"""Messages of deleted jobs: deleted by the way that is open, within bounds, in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot import removals
from bot.config import Settings
from bot.records import Job
from bot.removals import remove_message
from tests.conftest import Scene, open_scene
from tests.doubles import HeldExecutor
from tests.records import has_begun


@pytest.fixture
async def scene(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(removals, "PAUSE", 0.0)
    async with open_scene(settings, HeldExecutor()) as scene:
        await has_begun(scene.app.jobs)
        yield scene


async def job_with_message(scene: Scene, **about: bool) -> Job:
    """Return a job of Alice's with a true message."""
    await scene.begin(**about)
    (job,) = scene.app.jobs.unfinished()
    await scene.app.jobs.cancel(job.id, "Enough.")
    await scene.app.jobs.idle()
    return job


def messages(scene: Scene) -> int:
    return len(scene.channel.history(viewer=scene.alice))


@pytest.mark.parametrize("private", [False, True])
async def test_a_message_goes_by_the_way_that_is_open(scene: Scene, private: bool) -> None:
    job = await job_with_message(scene, private=private)
    assert messages(scene) == 1
    await remove_message(scene.app.client, job)
    assert messages(scene) == 0


async def test_what_only_its_member_saw_long_ago_is_not_asked_for(scene: Scene) -> None:
    job = await job_with_message(scene, private=True)
    before = len(scene.env.http_requests)
    await remove_message(scene.app.client, replace(job, created_at=0.0))
    assert len(scene.env.http_requests) == before


async def test_a_message_that_is_gone_is_no_error(scene: Scene) -> None:
    job = await job_with_message(scene)
    for _ in range(2):
        await remove_message(scene.app.client, job)


async def test_of_many_messages_the_latest_go(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "MOST", 2)
    jobs = [await job_with_message(scene) for _ in range(3)][::-1]
    scene.app.client.removals.add(jobs)
    async with asyncio.timeout(10):
        while messages(scene) > 1:
            await asyncio.sleep(0.01)
    (left,) = scene.channel.history(viewer=scene.alice)
    assert left.id == jobs[-1].origin.message_id
