"""Messages of deleted jobs: deleted by the way that is open, in the background, also later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import removals
from bot.config import Settings
from bot.errors import StorageError
from bot.inference.previews import MaskPreviews
from bot.records import Job
from tests.conftest import Scene, open_scene, restarted
from tests.doubles import HeldExecutor
from tests.records import has_begun


@pytest.fixture
async def scene(
    settings: Settings, previews: MaskPreviews, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    monkeypatch.setattr(removals, "PAUSE", 0.0)
    async with open_scene(settings, HeldExecutor(), previews=previews) as scene:
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


async def delete(scene: Scene, *jobs: Job) -> None:
    for job in jobs:
        await scene.app.storage.disposal.delete(job.id)
    scene.app.client.removals.begin(jobs)


async def only(scene: Scene, count: int) -> None:
    """Wait until so many messages are left, and nothing is noted any more."""
    async with asyncio.timeout(10):
        while messages(scene) > count or await scene.app.storage.disposal.messages():
            await asyncio.sleep(0.01)
    assert messages(scene) == count


def deletions(scene: Scene) -> int:
    return sum(request.method == "DELETE" for request in scene.env.http_requests)


@pytest.mark.parametrize("private", [False, True])
async def test_a_message_goes_by_the_way_that_is_open(scene: Scene, private: bool) -> None:
    job = await job_with_message(scene, private=private)
    assert messages(scene) == 1
    await delete(scene, job)
    await only(scene, 0)


async def test_what_only_its_member_saw_long_ago_is_not_asked_for(scene: Scene) -> None:
    old = await job_with_message(scene, private=True)
    await scene.app.storage._database.change("UPDATE jobs SET created_at = 0")
    old = await scene.app.storage.job(old.id)
    public = await job_with_message(scene)
    await delete(scene, old, public)
    await only(scene, 1)
    assert deletions(scene) == 1


@pytest.mark.parametrize("status", [403, 404])
async def test_what_cannot_be_deleted_is_asked_for_once(scene: Scene, status: int) -> None:
    job = await job_with_message(scene)
    scene.env.inject_error("DELETE", "/channels/*/messages/*", status=status)
    await delete(scene, job)
    await only(scene, 1)
    assert deletions(scene) == 1


async def test_what_a_fault_stood_in_the_way_of_is_tried_again_after_a_restart(
    scene: Scene, settings: Settings
) -> None:
    jobs = [await job_with_message(scene) for _ in range(2)]
    scene.env.inject_error("DELETE", "/channels/*/messages/*", status=503)
    await delete(scene, *jobs)
    async with asyncio.timeout(10):
        while messages(scene) > 1:
            await asyncio.sleep(0.01)
    (left,) = await scene.app.storage.disposal.messages()
    assert left == (scene.channel.id, jobs[-1].origin.message_id)
    async with restarted(scene, settings, HeldExecutor()) as later:
        await only(later, 0)


async def test_a_disk_that_is_ill_does_not_end_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()

    async def refuse() -> list[tuple[int, int]]:
        refused.set()
        raise StorageError(Path("data"), "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(scene.app.storage.disposal, "messages", refuse)
        await delete(scene, await job_with_message(scene))
        await refused.wait()
    scene.app.client.removals.begin([])
    await only(scene, 0)
