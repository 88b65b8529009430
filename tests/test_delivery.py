"""Job events become edits: throttled, the last one never lost, small enough for Discord."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import discord
import pytest
import simcord

from bot import delivery as delivery_module
from bot import ladder as ladder_module
from bot.cogs._buttons import controls
from bot.config import Settings
from bot.delivery import Delivery
from bot.errors import UnsupportedQuantization
from bot.events import JobEvent
from bot.inference.previews import MaskPreviews
from bot.inference.types import Progress, Queued
from tests.catalogues import Catalogues
from tests.cogs.messages import gallery, texts
from tests.conftest import Scene, open_scene
from tests.doubles import HeldExecutor, result_for
from tests.test_fitting import photo
from tests.test_ladder import delete_message, direct, pictures, posts

WEBHOOK = "/webhooks/*/*/messages/*"


@pytest.fixture
def held() -> HeldExecutor:
    return HeldExecutor()


@pytest.fixture
async def held_scene(
    settings: Settings, held: HeldExecutor, previews: MaskPreviews
) -> AsyncIterator[Scene]:
    """The bot on a simulated server, its executor in the test's hand."""
    async with open_scene(settings, held, previews=previews) as scene:
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


async def test_four_pictures_come_as_one_gallery_in_their_order_and_the_preview_goes(
    held_scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "PROGRESS_INTERVAL", 0.0)
    message = await held_scene.begin(prompt="a *red* circle", count=4, seed=7, spoiler=True)
    held.events.put_nowait(replace(step(1), preview=b"a sketch"))
    await drained(held)
    assert message.embeds
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert (message.content, message.embeds) == ("", [])
    names = [f"SPOILER_schnell-1-{number}.png" for number in (1, 2, 3, 4)]
    assert [each.filename for each in message.attachments] == names
    contents = [await each.read() for each in message.attachments]
    assert contents == [b"picture %d" % seed for seed in (7, 8, 9, 10)]
    items = gallery(message)
    assert [each["media"]["url"] for each in items] == [a.url for a in message.attachments]
    assert [each["description"] for each in items] == ["a *red* circle"] * 4
    assert all(each["spoiler"] for each in items)
    title, facts, footer = texts(message)
    assert title == "### FLUX.1 schnell\n> a \\*red\\* circle"
    assert "**Seeds** 7, 8, 9, 10" in facts
    assert footer == "-# Job 1"


async def test_pictures_of_a_gallery_that_are_too_large_have_their_new_names_there(
    held_scene: Scene, held: HeldExecutor
) -> None:
    message = await held_scene.begin(count=2)
    job = await held_scene.app.storage.job(1)
    held_scene.env.inject_error("PATCH", WEBHOOK, status=413, code=40005)
    large = replace(result_for(job.request), images=(photo((2600, 2000)), photo((64, 64))))
    held.events.put_nowait(large)
    await held_scene.app.jobs.idle()
    names = [each.filename for each in message.attachments]
    assert names == ["schnell-1-1.webp", "schnell-1-2.png"]
    assert [each["media"]["url"] for each in gallery(message)] == [
        each.url for each in message.attachments
    ]
    assert "**Note** Sent as WebP" in texts(message)[1]


async def test_a_gallery_of_which_one_picture_is_left_is_none(
    held_scene: Scene, held: HeldExecutor
) -> None:
    assert held_scene.channel.guild is not None
    await held_scene.app.storage.settings.change(
        held_scene.channel.guild.id, 0, {"classifier": "withhold"}, user_id=1
    )
    message = await held_scene.begin(count=2)
    job = await held_scene.app.storage.job(1)
    held.events.put_nowait(replace(result_for(job.request), unsafe=(0.9, 0.1)))
    await held_scene.app.jobs.idle()
    assert [each.filename for each in message.attachments] == ["schnell-1-2.png"]
    assert message.embeds[0].footer.text == "Job 1"


async def test_all_that_is_said_of_a_job_is_in_the_language_of_who_asked(
    held_scene: Scene,
    held: HeldExecutor,
    catalogues: Catalogues,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery_module, "PROGRESS_INTERVAL", 0.0)
    catalogues.add_quoted("fr")
    catalogues.give(held_scene.alice, "fr")
    first = await held_scene.begin(count=2)
    second = await held_scene.begin()
    assert "« Waiting: 1 job before this one. »" in (second.embeds[0].description or "")
    held.events.put_nowait(replace(step(1), preview=b"a sketch"))
    await drained(held)
    assert "« Painting »" in (first.embeds[0].description or "")
    (preview,) = first.attachments
    assert preview.description == "« A preview of the picture that is being painted »"
    await held.let_finish(0)
    await held.has_started((await held_scene.app.storage.job(2)).request)
    held.events.put_nowait(UnsupportedQuantization("4-bit"))
    await held_scene.app.jobs.idle()
    _, facts, footer = texts(first)
    assert "**« Seeds »**" in facts
    assert "« 1,0 s »" in facts  # as numbers are written there
    assert footer == "-# « Job 1 »"
    assert "« Quantization `4-bit` is not offered" in (second.embeds[0].description or "")
    assert ((await held_scene.app.storage.job(2)).error or "").startswith("« ")


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


@pytest.mark.parametrize("ends", [True, False])
async def test_a_message_shows_all_in_its_order_however_slow_discord_is(
    held_scene: Scene, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    edit, is_open, shown = discord.Webhook.edit_message, asyncio.Event(), list[str]()

    async def slow_at_first(webhook: discord.Webhook, message_id: int, **what: Any) -> Any:
        if "Waiting" in what["embed"].description:
            await is_open.wait()
        shown.append(what["embed"].description.rpartition("\n")[2])
        return await edit(webhook, message_id, **what)

    message = await held_scene.begin()
    app = held_scene.app
    job = await app.storage.job(1)
    delivery = Delivery(app.client, controls, app.storage)
    monkeypatch.setattr(discord.Webhook, "edit_message", slow_at_first)
    events: list[JobEvent] = [Queued(position=3), step(7)]
    events += [result_for(job.request)] * ends
    with held_scene.env.time_context():
        calls = [asyncio.create_task(delivery.deliver(job, event)) for event in events]
    await asyncio.sleep(0.05)  # for those that do not wait
    assert shown == []
    is_open.set()
    assert all(await asyncio.gather(*calls))
    await asyncio.sleep(0.05)  # for the edit of the progress
    assert shown[0] == "Waiting: 2 jobs before this one."
    assert len(shown) == 2
    assert ("7/50" in shown[1]) == (not ends)
    assert bool(message.attachments) == ends


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


async def test_a_picture_that_the_server_withholds_is_never_sent(
    held_scene: Scene, held: HeldExecutor
) -> None:
    assert held_scene.channel.guild is not None
    await held_scene.app.storage.settings.change(
        held_scene.channel.guild.id, 0, {"classifier": "withhold"}, user_id=1
    )
    message = await held_scene.begin()
    job = await held_scene.app.storage.job(1)
    held.events.put_nowait(replace(result_for(job.request), unsafe=(0.9,)))
    await held_scene.app.jobs.idle()
    assert message.attachments == []
    values = {field.name: field.value for field in message.embeds[0].fields}
    assert values["Note"] == "1 picture withheld: the server's classifier considers it unsafe."
    assert values["Seed"] == str(job.request.seed)
    assert (await held_scene.app.storage.job(1)).state == "delivered"


@pytest.fixture
def archive(held_scene: Scene) -> simcord.ChannelHandle:
    """A second channel of the server."""
    assert held_scene.channel.guild is not None
    return held_scene.channel.guild.create_text_channel("archive")


async def painted(scene: Scene, held: HeldExecutor, **options: Any) -> simcord.ResponseMessage:
    """Have a picture made as Alice, and wait for the copy of it."""
    message = await scene.begin(**options)
    await finish(scene, held)
    return message


async def finish(scene: Scene, held: HeldExecutor) -> None:
    """Give the job its picture, and wait until it has arrived everywhere."""
    job = await scene.app.storage.job(1)
    held.events.put_nowait(replace(result_for(job.request), images=(photo((64, 64)),)))
    await scene.app.jobs.idle()
    await copies()


async def set_archive(scene: Scene, channel: simcord.ChannelHandle, **more: Any) -> None:
    assert scene.channel.guild is not None
    values = {"archive_channel": channel.id} | more
    await scene.app.storage.settings.change(scene.channel.guild.id, 0, values, user_id=1)


async def copies() -> None:
    """Wait for the copies that are under way."""
    under_way = [task for task in asyncio.all_tasks() if task.get_name().startswith("copy of job")]
    await asyncio.gather(*under_way)


async def test_the_archive_gets_one_copy_that_says_who_asked_and_where(
    held_scene: Scene, held: HeldExecutor, archive: simcord.ChannelHandle
) -> None:
    await set_archive(held_scene, archive)
    message = await painted(held_scene, held)
    (copy,) = archive.history()
    values = {field.name: field.value for field in copy.embeds[0].fields}
    assert values["Asked by"] == f"<@{held_scene.alice.id}>"
    place = f"{held_scene.alice.guild.id}/{held_scene.channel.id}/{message.id}"
    assert values["Message"] == f"https://discord.com/channels/{place}"
    assert copy.embeds[0].description == message.embeds[0].description
    (sent,), (copied,) = message.attachments, copy.attachments
    assert copied.filename == sent.filename == "schnell-1-1.png"
    assert copied.size == sent.size == len(photo((64, 64)))
    (body,) = posts(held_scene)
    assert (body["nonce"], body["enforce_nonce"]) == ("archive-1", True)
    assert body["allowed_mentions"] == {"parse": []}


async def test_the_copy_has_the_look_of_the_answer_and_its_spoiler(
    held_scene: Scene, held: HeldExecutor, archive: simcord.ChannelHandle
) -> None:
    await set_archive(held_scene, archive, file_format="WebP", quality=60)
    message = await painted(held_scene, held, spoiler=True)
    (copy,) = archive.history()
    (sent,), (copied,) = message.attachments, copy.attachments
    assert copied.filename == sent.filename == "SPOILER_schnell-1-1.webp"
    assert copied.size == sent.size != len(photo((64, 64)))


async def test_the_copy_of_a_gallery_is_one_too(
    held_scene: Scene, held: HeldExecutor, archive: simcord.ChannelHandle
) -> None:
    await set_archive(held_scene, archive)
    message = await held_scene.begin(count=2, seed=7, spoiler=True)
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    await copies()
    (copy,) = archive.history()
    assert copy.embeds == []
    title, facts, footer = texts(copy)
    assert (title, footer) == (texts(message)[0], "-# Job 1")
    place = f"{held_scene.alice.guild.id}/{held_scene.channel.id}/{message.id}"
    assert facts.startswith(f"**Asked by** <@{held_scene.alice.id}> · **Message** https://")
    assert place in facts
    assert "**Seeds** 7, 8" in facts
    assert [each["description"] for each in gallery(copy)] == [
        each["description"] for each in gallery(message)
    ]
    assert all(each["spoiler"] for each in gallery(copy))
    (body,) = posts(held_scene)
    assert body["allowed_mentions"] == {"parse": []}


async def test_the_copy_is_in_the_language_that_its_server_has_fixed_since(
    held_scene: Scene, held: HeldExecutor, archive: simcord.ChannelHandle, catalogues: Catalogues
) -> None:
    catalogues.add_quoted("fr")
    message = await held_scene.begin()
    await set_archive(held_scene, archive)
    job = await held_scene.app.storage.job(1)
    look = replace(job.origin.look, archive_channel_id=archive.id)
    job = replace(job, origin=replace(job.origin, look=look))
    await set_archive(held_scene, archive, language="fr")
    delivery = Delivery(held_scene.app.client, controls, held_scene.app.storage)
    with held_scene.env.time_context():
        assert await delivery.deliver(job, result_for(job.request))
        await copies()
    (copy,) = archive.history()
    assert copy.embeds[0].footer.text == "« Job 1 »"
    assert "« Asked by »" in [field.name for field in copy.embeds[0].fields]
    assert message.embeds[0].footer.text == "Job 1"


async def test_a_private_picture_is_never_archived(
    held_scene: Scene, held: HeldExecutor, archive: simcord.ChannelHandle
) -> None:
    await set_archive(held_scene, archive)
    message = await painted(held_scene, held, private=True)
    assert len(message.attachments) == 1
    assert archive.history() == []
    assert posts(held_scene) == []


async def test_an_archive_in_another_server_gets_nothing(
    held_scene: Scene, held: HeldExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = held_scene.env.create_guild("another").create_text_channel("archive")
    assert held_scene.app.client.get_channel(elsewhere.id) is not None
    await set_archive(held_scene, elsewhere)
    message = await painted(held_scene, held)
    assert len(message.attachments) == 1
    assert elsewhere.history() == []
    assert posts(held_scene) == []
    assert "job 1: not archived: its server has no such channel" in caplog.text


async def test_the_channel_of_the_request_is_not_its_own_archive(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await set_archive(held_scene, held_scene.channel)
    await painted(held_scene, held)
    assert len(held_scene.channel.history()) == 1
    assert posts(held_scene) == []


@pytest.mark.parametrize("archive_too", [True, False])
async def test_age_restricted_pictures_are_archived_in_age_restricted_channels_alone(
    held_scene: Scene, held: HeldExecutor, archive: simcord.ChannelHandle, archive_too: bool
) -> None:
    for channel_id, restricted in ((held_scene.channel.id, True), (archive.id, archive_too)):
        channel = held_scene.app.client.get_channel(channel_id)
        assert isinstance(channel, discord.TextChannel)
        channel.nsfw = restricted  # simcord has no such channels
    await set_archive(held_scene, archive)
    await painted(held_scene, held)
    assert len(archive.history()) == archive_too


async def test_what_could_only_be_brought_to_its_member_is_not_archived(
    held_scene: Scene, held: HeldExecutor, archive: simcord.ChannelHandle
) -> None:
    posting = f"/channels/{held_scene.channel.id}/messages"
    for method, path in (("PATCH", WEBHOOK), ("PATCH", f"{posting}/*"), ("POST", posting)):
        held_scene.env.inject_error(method, path, status=403, code=50001, times=None)
    await set_archive(held_scene, archive)
    await painted(held_scene, held)
    assert [channel_id for channel_id, _ in pictures(held_scene)] == [direct(held_scene)]


async def test_a_picture_posted_anew_is_linked_where_it_is(
    held_scene: Scene, held: HeldExecutor, archive: simcord.ChannelHandle
) -> None:
    await set_archive(held_scene, archive)
    message = await held_scene.begin()
    delete_message(held_scene, message.id)
    await finish(held_scene, held)
    ((channel_id, message_id), _) = pictures(held_scene)
    (copy,) = archive.history()
    values = {field.name: field.value or "" for field in copy.embeds[0].fields}
    assert values["Message"].endswith(f"/{channel_id}/{message_id}")
    assert message_id != message.id


async def test_neither_the_member_nor_the_queue_waits_for_the_archive(
    held_scene: Scene,
    held: HeldExecutor,
    archive: simcord.ChannelHandle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_open, send = asyncio.Event(), discord.TextChannel.send

    async def slow(*args: Any, **kwargs: Any) -> discord.Message:
        await is_open.wait()
        return await send(*args, **kwargs)

    monkeypatch.setattr(discord.TextChannel, "send", slow)
    await set_archive(held_scene, archive)
    first = await held_scene.begin(seed=1)
    second = await held_scene.begin(seed=2)
    for number in (0, 1):
        await held.let_finish(number)
    await held_scene.app.jobs.idle()
    assert len(first.attachments) == len(second.attachments) == 1
    assert archive.history() == []
    is_open.set()
    await copies()
    assert len(archive.history()) == 2


async def test_a_copy_under_way_arrives_before_all_is_closed(
    held_scene: Scene, archive: simcord.ChannelHandle
) -> None:
    await set_archive(held_scene, archive)
    await held_scene.begin()
    app = held_scene.app
    job = await app.storage.job(1)
    delivery = Delivery(app.client, controls, app.storage)
    with held_scene.env.time_context():
        assert await delivery.deliver(job, result_for(job.request))
    assert archive.history() == []
    await delivery.close()
    assert len(archive.history()) == 1


async def test_an_archive_that_discord_refuses_is_a_line_in_the_log(
    held_scene: Scene,
    held: HeldExecutor,
    archive: simcord.ChannelHandle,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = f"/channels/{archive.id}/messages"
    held_scene.env.inject_error("POST", path, status=403, code=50013, times=None)
    await set_archive(held_scene, archive)
    message = await painted(held_scene, held)
    assert len(message.attachments) == 1
    assert (await held_scene.app.storage.job(1)).state == "delivered"
    (line,) = [record.message for record in caplog.records if "archived" in record.message]
    assert line.startswith("job 1: not archived: 403 Forbidden (error code: 50013)")
