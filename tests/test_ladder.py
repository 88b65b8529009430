"""What must arrive does, once, by the first way that is open, and never where it is not meant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import discord
import pytest
from simcord.backend.models import Overwrite

from bot import ladder
from bot.config import Settings
from bot.errors import JobError
from bot.inference.previews import MaskPreviews
from bot.inference.types import Progress
from bot.storage import Storage
from tests.catalogues import Catalogues
from tests.conftest import Scene, open_scene, restarted
from tests.doubles import HeldExecutor

WEBHOOK = "/webhooks/*/*/messages/*"
OWN_MESSAGE = "/channels/*/messages/*"

VIEW_CHANNEL, SEND_MESSAGES = 1 << 10, 1 << 11


@pytest.fixture
def held() -> HeldExecutor:
    return HeldExecutor()


@pytest.fixture
async def scene(
    settings: Settings, held: HeldExecutor, previews: MaskPreviews
) -> AsyncIterator[Scene]:
    """The bot on a simulated server, its executor in the test's hand."""
    async with open_scene(settings, held, previews=previews) as scene:
        yield scene


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "RETRY_SECONDS", (0.01, 0.01))


def direct(scene: Scene) -> int:
    """Return the id of Alice's direct messages with the bot."""
    return scene.alice.user.dm_channel.id


def messages(scene: Scene) -> Iterator[Any]:
    """All messages, wherever they are."""
    for channel in scene.env.backend.messages.values():
        yield from channel.values()


def pictures(scene: Scene) -> list[tuple[int, int]]:
    """Return the channel and the message of each picture, wherever it is."""
    return [(each.channel_id, each.id) for each in messages(scene) for _ in each.attachments]


def posts(scene: Scene) -> list[Any]:
    """Return the bodies of the messages that the bot has posted, or wanted to."""
    requests = scene.env.http_requests
    sent = [r for r in requests if r.method == "POST" and r.path.endswith("/messages")]
    return [r.json for r in sent]


def expire(scene: Scene, code: int = 50027) -> None:
    status = {50027: 401, 10015: 404}[code]
    scene.env.inject_error("PATCH", WEBHOOK, status=status, code=code, times=None)


async def finish(scene: Scene, held: HeldExecutor) -> None:
    await held.let_finish(0)
    await scene.app.jobs.idle()


async def state(scene: Scene) -> str:
    return (await scene.app.storage.job(1)).state


def delete_message(scene: Scene, message_id: int) -> None:
    """Take a message away without an event: the bot learns of it by its next edit."""
    del scene.env.backend.messages[scene.channel.id][message_id]


def delete_channel(scene: Scene, _: int) -> None:
    scene.env.backend.delete_channel(scene.channel.id)


def leave_server(scene: Scene, _: int) -> None:
    expire(scene)
    scene.env.backend.remove_member(scene.alice.guild.id, scene.env.backend.bot_user.id)


def forbid(permissions: int) -> Callable[[Scene, int], None]:
    def apply(scene: Scene, _: int) -> None:
        expire(scene)
        bot = scene.env.backend.bot_user.id
        scene.env.backend.set_overwrite(
            scene.channel.id, Overwrite(target_id=bot, type=1, allow=0, deny=permissions)
        )

    return apply


def archive_thread(scene: Scene, _: int) -> None:
    """Refuse edits, as Discord does in an archived thread; a new message opens it again."""
    for path in (WEBHOOK, OWN_MESSAGE):
        scene.env.inject_error("PATCH", path, status=400, code=50083, times=None)


def lock_thread(scene: Scene, message_id: int) -> None:
    archive_thread(scene, message_id)
    path = f"/channels/{scene.channel.id}/messages"
    scene.env.inject_error("POST", path, status=400, code=50083, times=None)


MISHAPS = {
    "message deleted": (delete_message, "channel"),
    "channel deleted": (delete_channel, "direct"),
    "server left": (leave_server, "direct"),
    "may not write": (forbid(SEND_MESSAGES), "own message"),
    "may not look": (forbid(VIEW_CHANNEL), "direct"),
    "thread archived": (archive_thread, "channel"),
    "thread locked": (lock_thread, "direct"),
}
RUNG_TO = {
    "own message": "edit_as_bot",
    "channel": "post_in_channel",
    "direct": "post_to_member",
}


@pytest.mark.parametrize("mishap", MISHAPS)
async def test_a_picture_arrives_once_whatever_became_of_its_place(
    scene: Scene, held: HeldExecutor, mishap: str
) -> None:
    happen, arrival = MISHAPS[mishap]
    message = await scene.begin()
    happen(scene, message.id)
    await finish(scene, held)
    ((channel_id, message_id),) = pictures(scene)
    assert channel_id == (direct(scene) if arrival == "direct" else scene.channel.id)
    assert scene.app.delivery.arrivals[RUNG_TO[arrival]] == 1
    assert (message_id == message.id) == (arrival == "own message")
    assert await state(scene) == "delivered"


@pytest.mark.parametrize("expiry", ["by the clock", 50027, 10015])
@pytest.mark.parametrize("mishap", [None, *MISHAPS])
async def test_a_gallery_arrives_once_whatever_became_of_its_place(
    scene: Scene,
    held: HeldExecutor,
    monkeypatch: pytest.MonkeyPatch,
    expiry: str | int,
    mishap: str | None,
) -> None:
    message = await scene.begin(count=2)
    happen, arrival = MISHAPS.get(mishap or "", (lambda *_: None, "own message"))
    happen(scene, message.id)
    if isinstance(expiry, int):
        expire(scene, expiry)
    else:
        monkeypatch.setattr(ladder, "TOKEN_SECONDS", -1.0)
    await finish(scene, held)
    (first, second) = pictures(scene)
    assert first == second
    channel_id, message_id = first
    assert channel_id == (direct(scene) if arrival == "direct" else scene.channel.id)
    assert (message_id == message.id) == (arrival == "own message")
    assert await state(scene) == "delivered"


@pytest.mark.parametrize("mishap", [*MISHAPS, "token expired"])
async def test_a_private_picture_is_never_seen_in_a_channel(
    scene: Scene, held: HeldExecutor, mishap: str
) -> None:
    message = await scene.begin(private=True)
    happen, _ = MISHAPS.get(mishap, (lambda *_: None, ""))
    happen(scene, message.id)
    expire(scene)
    await finish(scene, held)
    ((channel_id, _),) = pictures(scene)
    assert channel_id == direct(scene)
    assert not [r for r in scene.env.http_requests if str(scene.channel.id) in r.path]
    assert await state(scene) == "delivered"


@pytest.mark.parametrize("expiry", ["by the clock", 50027, 10015])
@pytest.mark.parametrize(
    ("shut", "arrival"),
    [
        ((), "own message"),
        (("own message",), "channel"),
        (("own message", "channel"), "direct"),
        (("own message", "channel", "direct"), None),
    ],
)
async def test_a_job_that_ends_after_its_token_arrives_by_the_first_way_that_is_open(
    scene: Scene,
    held: HeldExecutor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    expiry: str | int,
    shut: tuple[str, ...],
    arrival: str | None,
) -> None:
    message = await scene.begin()
    if isinstance(expiry, int):
        expire(scene, expiry)
    else:
        monkeypatch.setattr(ladder, "TOKEN_SECONDS", -1.0)
    ways = {
        "own message": ("PATCH", OWN_MESSAGE, 50013),
        "channel": ("POST", f"/channels/{scene.channel.id}/messages", 50001),
        "direct": ("POST", f"/channels/{direct(scene)}/messages", 50007),
    }
    for method, path, code in (ways[each] for each in shut):
        scene.env.inject_error(method, path, status=403, code=code, times=None)
    await finish(scene, held)
    found = pictures(scene)
    if arrival == "own message":
        assert found == [(scene.channel.id, message.id)]
    elif arrival is not None:
        ((channel_id, message_id),) = found
        assert channel_id == {"channel": scene.channel.id, "direct": direct(scene)}[arrival]
        assert message_id != message.id
    else:
        assert found == []
        assert "job 1: not delivered: result" in caplog.text
        job = await scene.app.storage.job(1)
        assert job.nonce is not None  # recorded before what was then refused
        (kept,) = await scene.app.storage.images(1)
        assert kept.path.exists()
    assert await state(scene) == ("delivered" if arrival else "made")
    for _, _, code in (ways[each] for each in shut):
        assert f"(error code: {code})" in caplog.text


async def test_a_token_that_a_clock_set_back_makes_look_young_is_tried_and_passed_over(
    scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        an_hour_ahead = time.time() + 3600
        patch.setattr(time, "time", lambda: an_hour_ahead)
        message = await scene.begin()
    expire(scene)
    await finish(scene, held)
    assert pictures(scene) == [(scene.channel.id, message.id)]
    assert await state(scene) == "delivered"


async def test_a_new_message_mentions_its_member_alone_and_links_the_request(
    scene: Scene, held: HeldExecutor
) -> None:
    message = await scene.begin()
    archive_thread(scene, message.id)
    await finish(scene, held)
    (body,) = posts(scene)
    link = f"https://discord.com/channels/{scene.alice.guild.id}/{scene.channel.id}/{message.id}"
    assert body["content"] == f"<@{scene.alice.id}>, this is for your request. {link}"
    assert body["allowed_mentions"] == {"parse": [], "users": [scene.alice.id]}
    assert body["enforce_nonce"]
    assert body["nonce"] == (await scene.app.storage.job(1)).nonce


async def test_a_new_gallery_mentions_its_member_alone_in_its_first_text(
    scene: Scene, held: HeldExecutor
) -> None:
    message = await scene.begin(count=2)
    archive_thread(scene, message.id)
    await finish(scene, held)
    (body,) = posts(scene)
    assert not body.get("content")
    assert not body.get("embeds")
    link = f"https://discord.com/channels/{scene.alice.guild.id}/{scene.channel.id}/{message.id}"
    text, container, *_ = body["components"]
    assert text["content"] == f"<@{scene.alice.id}>, this is for your request. {link}"
    assert container["components"][-1]["content"] == "-# Job 1"
    assert body["allowed_mentions"] == {"parse": [], "users": [scene.alice.id]}
    assert body["nonce"] == (await scene.app.storage.job(1)).nonce


async def test_a_message_that_is_gone_is_not_linked(scene: Scene, held: HeldExecutor) -> None:
    message = await scene.begin()
    delete_message(scene, message.id)
    await finish(scene, held)
    (body,) = posts(scene)
    assert "discord.com" not in body["content"]


async def test_a_failure_is_told_anew_when_its_message_is_gone(
    scene: Scene, held: HeldExecutor
) -> None:
    message = await scene.begin()
    delete_message(scene, message.id)
    held.events.put_nowait(JobError("That did not work."))
    await scene.app.jobs.idle()
    (told,) = scene.channel.history()
    assert "That did not work." in (told.embeds[0].description or "")


async def test_nothing_is_told_anew_of_a_job_that_was_cancelled_with_its_message_gone(
    scene: Scene, held: HeldExecutor
) -> None:
    message = await scene.begin()
    await held.has_started((await scene.app.storage.job(1)).request)
    delete_message(scene, message.id)
    await scene.app.jobs.cancel(1, "Cancelled.")
    await scene.app.jobs.idle()
    assert posts(scene) == []
    assert await state(scene) == "cancelled"


async def test_progress_and_places_are_never_posted_anew(scene: Scene, held: HeldExecutor) -> None:
    for path in (WEBHOOK, OWN_MESSAGE):
        scene.env.inject_error("PATCH", path, status=404, code=10008, times=None)
    await scene.begin()
    held.events.put_nowait(Progress(stage="denoise", step=1, total=2, seconds=1.0))
    await held.has_taken_all()
    await asyncio.sleep(0.05)  # for the edit
    assert posts(scene) == []
    await finish(scene, held)
    assert len(posts(scene)) == 1


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("readable", [True, False], ids=["found", "not found"])
async def test_what_an_earlier_process_posted_is_not_posted_by_the_next(
    scene: Scene,
    held: HeldExecutor,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    catalogues: Catalogues,
    readable: bool,
    count: int,
    language: str,
) -> None:
    async def die(*_: object) -> None:
        """End before it is recorded that the picture was posted."""

    catalogues.add("fr", {"Job {id}": "Tâche n° {id}"})
    catalogues.give(scene.alice, language)
    message = await scene.begin(count=count)
    delete_message(scene, message.id)
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "mark_delivered", die)
        await finish(scene, held)
    assert await state(scene) == "made"
    if not readable:
        path = f"/channels/{scene.channel.id}/messages"
        scene.env.inject_error("GET", path, status=403, code=50001, times=None)
    before = len(posts(scene))
    async with restarted(scene, settings, held) as scene:
        for _ in range(100):
            if await state(scene) == "delivered":
                break
            await asyncio.sleep(0.02)
        assert await state(scene) == "delivered"
    if readable:
        assert len(pictures(scene)) == count
        assert len(posts(scene)) == before
    else:  # Discord makes no second message of the same nonce, which simcord does
        assert len({body["nonce"] for body in posts(scene)}) == 1


async def test_an_edit_whose_answers_are_all_lost_is_not_followed_by_a_second_picture(
    scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await scene.begin()
    for owner, name in ((discord.Webhook, "edit_message"), (discord.PartialMessage, "edit")):
        monkeypatch.setattr(owner, name, _lost(getattr(owner, name)))
    await finish(scene, held)
    assert pictures(scene) == [(scene.channel.id, message.id)]
    assert posts(scene) == []
    assert await state(scene) == "delivered"


async def test_a_discord_that_is_unwell_leads_on_to_the_next_way(
    scene: Scene, held: HeldExecutor
) -> None:
    await scene.begin()
    for path in (WEBHOOK, OWN_MESSAGE):
        scene.env.inject_error("PATCH", path, status=503, times=None)
    await finish(scene, held)
    ((channel_id, _),) = pictures(scene)
    assert channel_id == scene.channel.id
    assert len(posts(scene)) == 1


async def test_a_client_that_is_closed_is_asked_for_nothing(
    scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.begin()
    before = len(scene.env.http_requests)
    with monkeypatch.context() as patch:
        patch.setattr(scene.app.client, "is_closed", lambda: True)
        await finish(scene, held)
    assert len(scene.env.http_requests) == before
    assert await state(scene) == "made"


def _lost(request: Callable[..., Any]) -> Callable[..., Any]:
    """Return a request that is carried out, but whose answer does not come."""

    async def lost(*args: Any, **kwargs: Any) -> None:
        await request(*args, **kwargs)
        raise ConnectionResetError(104, "Connection reset by peer")

    return lost
