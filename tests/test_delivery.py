"""Job events become edits: throttled, the last one never lost, small enough for Discord."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot import delivery as delivery_module
from bot import ladder as ladder_module
from bot.config import Settings
from bot.inference.types import Progress
from tests.conftest import Scene, open_scene
from tests.doubles import HeldExecutor, result_for
from tests.test_fitting import photo

WEBHOOK = "/webhooks/*/*/messages/*"


@pytest.fixture
def held() -> HeldExecutor:
    return HeldExecutor()


@pytest.fixture
async def held_scene(settings: Settings, held: HeldExecutor) -> AsyncIterator[Scene]:
    """The bot on a simulated server, its executor in the test's hand."""
    async with open_scene(settings, held) as scene:
        yield scene


def edits(scene: Scene) -> int:
    return sum(r.method == "PATCH" and "/messages/" in r.path for r in scene.env.http_requests)


def step(number: int) -> Progress:
    return Progress(stage="denoise", step=number, total=50, seconds=float(number))


async def drained(held: HeldExecutor) -> None:
    await held.has_taken_all()
    await asyncio.sleep(0.05)  # for the edit that the last one may have begun


async def test_progress_is_edited_in_at_most_once_in_the_interval(
    held_scene: Scene, held: HeldExecutor
) -> None:
    message = await held_scene.begin()
    before = edits(held_scene)
    for number in range(1, 50):
        held.events.put_nowait(step(number))
    await drained(held)
    assert edits(held_scene) == before + 1
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert edits(held_scene) == before + 2
    assert len(message.attachments) == 1


async def test_after_the_interval_the_latest_progress_is_shown(
    held_scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "PROGRESS_INTERVAL", 0.1)
    message = await held_scene.begin()
    for number in (10, 20, 30):
        held.events.put_nowait(step(number))
        await drained(held)
        await asyncio.sleep(0.1)
    assert "30/50" in (message.embeds[0].description or "")
    await held.let_finish(0)
    await held_scene.app.jobs.idle()


async def test_a_preview_stays_until_the_picture_takes_its_place(
    held_scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "PROGRESS_INTERVAL", 0.0)
    message = await held_scene.begin(spoiler=True)
    for event in (replace(step(1), preview=b"a sketch"), step(2)):
        held.events.put_nowait(event)
        await drained(held)
    assert "2/50" in (message.embeds[0].description or "")
    assert [a.filename for a in message.attachments] == ["SPOILER_preview.webp"]
    assert await message.attachments[0].read() == b"a sketch"
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert [a.filename for a in message.attachments] == ["SPOILER_schnell-1-1.png"]


async def test_the_latest_progress_is_shown_even_if_nothing_follows_it(
    held_scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "PROGRESS_INTERVAL", 0.2)
    message = await held_scene.begin()
    for number in range(1, 50):
        held.events.put_nowait(step(number))
    await drained(held)
    await asyncio.sleep(0.4)
    assert "49/50" in (message.embeds[0].description or "")
    await held.let_finish(0)
    await held_scene.app.jobs.idle()


@pytest.mark.parametrize("status", [500, 503])
async def test_the_last_word_is_tried_again_when_discord_is_unwell(
    held_scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(ladder_module, "RETRY_SECONDS", (0.01, 0.01))
    message = await held_scene.begin()
    held_scene.env.inject_error("PATCH", WEBHOOK, status=status, times=2)
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert len(message.attachments) == 1
    assert (await held_scene.app.storage.job(1)).state == "delivered"


async def test_what_discord_refuses_for_good_is_not_tried_again(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await held_scene.begin()
    before = edits(held_scene)
    held_scene.env.inject_error("PATCH", WEBHOOK, status=400, code=50035, times=None)
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    # the picture once, then the sentence that it was not taken
    assert edits(held_scene) == before + 2


async def test_a_picture_too_large_for_the_channel_is_sent_smaller_and_kept_as_it_was(
    held_scene: Scene, held: HeldExecutor
) -> None:
    content = photo((4000, 3000))
    message = await held_scene.begin()
    job = await held_scene.app.storage.job(1)
    assert len(content) > job.origin.filesize_limit == 25 * 2**20  # what simcord says
    held.events.put_nowait(replace(result_for(job.request), images=(content,)))
    await held_scene.app.jobs.idle()
    (sent,) = message.attachments
    assert sent.filename == "schnell-1-1.webp"
    assert sent.size < job.origin.filesize_limit
    notes = [field.value for field in message.embeds[0].fields if field.name == "Note"]
    assert notes == ["Sent as WebP, for Discord takes no file above 26.2 MB here."]
    (kept,) = await held_scene.app.storage.images(1)
    assert kept.path.read_bytes() == content


async def test_a_picture_that_discord_finds_too_large_all_the_same_is_sent_smaller(
    held_scene: Scene, held: HeldExecutor
) -> None:
    content = photo((2600, 2000))
    message = await held_scene.begin()
    job = await held_scene.app.storage.job(1)
    assert 10 * 2**20 < len(content) < job.origin.filesize_limit
    held_scene.env.inject_error("PATCH", WEBHOOK, status=413, code=40005)
    held.events.put_nowait(replace(result_for(job.request), images=(content,)))
    await held_scene.app.jobs.idle()
    (sent,) = message.attachments
    assert sent.filename == "schnell-1-1.webp"
    assert sent.size < 10 * 2**20
    assert (await held_scene.app.storage.job(1)).state == "delivered"


async def test_a_picture_that_stays_too_large_is_reported_as_not_taken(
    held_scene: Scene, held: HeldExecutor
) -> None:
    message = await held_scene.begin()
    held_scene.env.inject_error("PATCH", WEBHOOK, status=413, code=40005)
    held_scene.env.inject_error("PATCH", "/channels/*/messages/*", status=413, code=40005)
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert "Discord did not take it" in (message.embeds[0].description or "")
    assert len(held_scene.channel.history()) == 1
