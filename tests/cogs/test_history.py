"""`/history` as members and moderators meet it: who sees what, page by page, and does what."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import discord
import pytest
import simcord
from PIL import Image
from simcord.backend.errors import BackendError
from simcord.components import walk_components

from bot import removals
from bot.cogs._history_view import PAGE, TEXT, Place
from bot.cogs.history import LABELS, HistoryButton, HistorySelect
from bot.inference.tools import TOOLS
from bot.records import Job, Look
from tests.cogs.messages import fields, photo, png, refusal, restrict
from tests.conftest import Scene, restarted
from tests.doubles import HeldExecutor, result_for
from tests.records import REQUEST, has_begun, made, queued


async def history(
    scene: Scene, member: simcord.MemberActor | None = None, **options: Any
) -> simcord.ResponseMessage:
    result = await (member or scene.alice).slash(scene.channel, "history", **options)
    assert result.response is not None
    assert result.response.ephemeral
    return result.response


async def job_of(scene: Scene, member: simcord.MemberActor, **about: Any) -> Job:
    """Return a job of a member in the scene's channel, whose picture was delivered."""
    await has_begun(scene.app.jobs)
    about = {
        "user_id": member.id,
        "guild_id": scene.channel.guild.id,
        "channel_id": scene.channel.id,
    } | about
    return await made(scene.app.storage, **about)


def parts(message: simcord.ResponseMessage, kind: int) -> list[dict[str, Any]]:
    return [each for each in walk_components(message.components) if each["type"] == kind]


def text(message: simcord.ResponseMessage) -> str:
    return "\n".join(each["content"] for each in parts(message, 10))


def shown(message: simcord.ResponseMessage) -> list[int]:
    """Return the numbers of the jobs of a page."""
    lines = text(message).splitlines()
    return [int(line.split("**")[1]) for line in lines if line.startswith("**")]


def pressable(message: simcord.ResponseMessage) -> list[str]:
    return [each["label"] for each in parts(message, 2) if not each.get("disabled")]


def gallery(message: simcord.ResponseMessage) -> list[dict[str, Any]]:
    return [item for each in parts(message, 12) for item in each["items"]]


async def choose(scene: Scene, message: simcord.ResponseMessage, job: Job) -> None:
    await scene.alice.select(message, [str(job.id)])
    assert pressable(message) == ["Show", "Use again", "Delete", "To the list"]


async def forge(scene: Scene, item: discord.ui.Item[Any]) -> discord.Message:
    """Return a public message with a control of a history, as nobody should have it."""
    channel = scene.app.client.get_channel(scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    view = discord.ui.LayoutView(timeout=None)
    return await channel.send(view=view.add_item(discord.ui.ActionRow(item)))


async def pressed(scene: Scene, member: simcord.MemberActor, message: Any, label: str) -> str:
    """Press a button, and return the sentence that refuses it."""
    result = await member.click(message, label=label)
    answers = [*([result.response] if result.response else []), *result.followups]
    (answer,) = [each for each in answers if each.content]
    assert answer.ephemeral
    return answer.content


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():
            await asyncio.sleep(0.02)


def is_there(scene: Scene, message_id: int) -> bool:
    try:
        scene.env.backend.get_message(scene.channel.id, message_id)
    except BackendError:
        return False
    return True


# what is shown


async def test_without_jobs_it_says_so(held_scene: Scene) -> None:
    message = await history(held_scene)
    assert "There is nothing yet." in text(message)
    assert pressable(message) == []


async def test_a_member_sees_their_own_jobs_with_what_became_of_them(held_scene: Scene) -> None:
    storage, where = held_scene.app.storage, held_scene.channel
    first = await job_of(held_scene, held_scene.alice)
    failed = await queued(
        storage, user_id=held_scene.alice.id, guild_id=where.guild.id, channel_id=where.id
    )
    await storage.end_job(failed.id, "failed", "out of memory")
    await job_of(held_scene, held_scene.bob)
    message = await history(held_scene)
    assert shown(message) == [failed.id, first.id]
    assert "FLUX.1 schnell" in text(message)
    assert "· failed" in text(message)
    assert "> a cat" in text(message)
    (container,) = parts(message, 17)
    assert container["accent_color"] == 0x5B6CFF


async def test_a_prompt_pings_nobody_and_formats_nothing(held_scene: Scene) -> None:
    request = replace(REQUEST, prompt="@everyone **bold**\n# head <@1>")
    await job_of(held_scene, held_scene.alice, request=request)
    seen = text(await history(held_scene))
    assert "@everyone" not in seen
    assert "**bold**" not in seen
    assert "\n# head" not in seen


async def test_pictures_are_small_and_read_out_and_unsafe_ones_are_not_there(
    held_scene: Scene, held: HeldExecutor
) -> None:
    for seed in range(2):
        await held_scene.begin(prompt=f"number {seed}", seed=seed, spoiler=seed == 1)
        await held.is_busy()
        while len(held.started) <= seed:
            await asyncio.sleep(0.01)
        big = png(Image.effect_noise((1024, 768), 90).convert("RGB"))
        held.events.put_nowait(replace(result_for(held.started[seed]), images=(big,)))
        await held_scene.app.jobs.idle()
    unsafe = await job_of(held_scene, held_scene.alice, look=Look(verdict="blur", threshold=0.5))
    await held_scene.app.storage._database.change(
        "UPDATE jobs SET outcome = json_set(outcome, '$.unsafe', json('[0.9]')) WHERE id = ?",
        unsafe.id,
    )
    (image,) = await held_scene.app.storage.images(unsafe.id)
    image.path.write_bytes(photo()[1])
    message = await history(held_scene)
    assert shown(message) == [3, 2, 1]
    assert [item["description"] for item in gallery(message)] == ["2: number 1", "1: number 0"]
    assert [item.get("spoiler", False) for item in gallery(message)] == [True, False]
    for attachment in message.attachments:
        content = await attachment.read()
        with Image.open(io.BytesIO(content)) as thumbnail:
            assert (thumbnail.format, max(thumbnail.size)) == ("WEBP", 256)


async def test_filters_narrow_it_and_are_named(held_scene: Scene) -> None:
    other = held_scene.channel.guild.create_text_channel("other")
    dev = replace(REQUEST, tool="dev", prompt="Ein ÄPFELBAUM")
    found = await job_of(held_scene, held_scene.alice, request=dev)
    await job_of(held_scene, held_scene.alice)
    elsewhere = await job_of(held_scene, held_scene.alice, request=dev, channel_id=other.id)
    message = await history(held_scene, tool="dev", text="äpfel")
    assert shown(message) == [elsewhere.id, found.id]
    message = await history(held_scene, tool="dev", text="äpfel", here=True)
    assert shown(message) == [found.id]
    assert "in this channel by FLUX.1 dev with “äpfel”" in text(message)


# pages


async def test_pages_lead_on_and_back_also_after_a_restart(
    held_scene: Scene, held: HeldExecutor
) -> None:
    ids = [(await job_of(held_scene, held_scene.alice)).id for _ in range(2 * PAGE + 1)][::-1]
    await job_of(held_scene, held_scene.alice, request=replace(REQUEST, prompt="a dog"))
    message = await history(held_scene, text="cat")
    assert (shown(message), pressable(message)) == (ids[:PAGE], ["More"])
    async with restarted(held_scene, held_scene.app.client.settings, held) as scene:
        await scene.alice.click(message, label="More")
        assert (shown(message), pressable(message)) == (ids[PAGE : 2 * PAGE], ["Back", "More"])
        await scene.alice.click(message, label="More")
        assert (shown(message), pressable(message)) == (ids[2 * PAGE :], ["Back"])
        await scene.alice.click(message, label="Back")
        assert shown(message) == ids[PAGE : 2 * PAGE]
        await scene.alice.click(message, label="Back")
        assert shown(message) == ids[:PAGE]


async def test_from_a_job_it_is_back_to_the_page_that_one_was_on(held_scene: Scene) -> None:
    jobs = [await job_of(held_scene, held_scene.alice) for _ in range(PAGE + 2)][::-1]
    message = await history(held_scene)
    await held_scene.alice.click(message, label="More")
    await choose(held_scene, message, jobs[-1])
    await held_scene.alice.click(message, label="To the list")
    assert shown(message) == [job.id for job in jobs[PAGE:]]


def test_the_longest_filter_fits_into_a_button() -> None:
    number = 10**9
    for tool in TOOLS:
        place = Place(start=number, whose="server", here=True, tool=tool, text="🐈" * TEXT)
        for verb in LABELS:
            assert len(HistoryButton(verb, number, place).custom_id) <= 100


@pytest.mark.parametrize("words", ["a:b:c", "past:show:1", "::", "two\nlines", "*?[]()"])
def test_a_filter_comes_back_from_a_button_as_it_was(words: str) -> None:
    place = Place(start=5, whose="mine", tool="dev", text=words)
    button = HistoryButton("older", 7, place)
    match = HistoryButton.__discord_ui_compiled_template__.fullmatch(button.custom_id)
    assert match is not None
    assert (match["verb"], match["job"], Place.from_match(match)) == ("older", "7", place)
    assert HistorySelect.__discord_ui_compiled_template__.fullmatch(button.custom_id) is None


# who sees what


async def test_in_direct_messages_it_is_all_of_ones_own(held_scene: Scene) -> None:
    await job_of(held_scene, held_scene.bob)
    mine = [
        await job_of(held_scene, held_scene.alice, private=True),
        await job_of(held_scene, held_scene.alice, guild_id=5),
        await job_of(held_scene, held_scene.alice, guild_id=None),
    ]
    result = await held_scene.alice.user.slash("history")
    assert result.response is not None
    assert shown(result.response) == [job.id for job in reversed(mine)]


async def test_another_servers_jobs_are_not_in_this_one(held_scene: Scene) -> None:
    await job_of(held_scene, held_scene.alice, guild_id=5)
    await job_of(held_scene, held_scene.alice, guild_id=None, private=True)
    assert shown(await history(held_scene)) == []
    message = await history(held_scene, held_scene.moderator, whose="server")
    assert shown(message) == []


async def test_a_member_who_manages_no_messages_is_refused_the_servers(held_scene: Scene) -> None:
    result = await held_scene.alice.slash(held_scene.channel, "history", whose="server")
    assert refusal(held_scene, result).startswith("Only those who manage messages in this server")
    result = await held_scene.moderator.user.slash("history", whose="server")
    assert refusal(held_scene, result).startswith("Only those who manage messages in this server")


async def test_a_moderator_sees_what_is_public_and_never_what_is_private(
    held_scene: Scene,
) -> None:
    public = await job_of(held_scene, held_scene.alice)
    await job_of(held_scene, held_scene.alice, private=True)
    message = await history(held_scene, held_scene.moderator, whose="server")
    assert shown(message) == [public.id]
    assert f"<@{held_scene.alice.id}>" in text(message)


async def test_a_moderator_sees_nothing_of_channels_that_are_closed_to_them(
    held_scene: Scene,
) -> None:
    guild = held_scene.channel.guild
    closed = guild.create_text_channel(
        "closed", overwrites={guild.default_role: discord.PermissionOverwrite(view_channel=False)}
    )
    public = await job_of(held_scene, held_scene.alice)
    hidden = await job_of(held_scene, held_scene.alice, channel_id=closed.id)
    message = await history(held_scene, held_scene.moderator, whose="server")
    assert shown(message) == [public.id]
    forged = await forge(held_scene, HistoryButton("show", hidden.id, Place(whose="server")))
    sentence = await pressed(held_scene, held_scene.moderator, forged, "Show")
    assert sentence.startswith("This job is not in your history here")


async def test_what_was_made_in_an_age_restricted_channel_is_seen_by_others_in_such_alone(
    held_scene: Scene,
) -> None:
    restricted = held_scene.channel.guild.create_text_channel("restricted")
    await restrict(held_scene, restricted)
    public = await job_of(held_scene, held_scene.alice)
    theirs = await job_of(held_scene, held_scene.alice, channel_id=restricted.id)
    message = await history(held_scene, held_scene.moderator, whose="server")
    assert shown(message) == [public.id]
    result = await held_scene.moderator.slash(restricted, "history", whose="server")
    assert result.response is not None
    assert shown(result.response) == [theirs.id, public.id]
    assert shown(await history(held_scene)) == [theirs.id, public.id]  # one's own, anywhere


@pytest.mark.parametrize("verb", ["job", "show", "again", "ask", "delete"])
@pytest.mark.parametrize("about", [{}, {"private": True}, {"guild_id": 5}, {"guild_id": None}])
async def test_a_forged_button_reaches_nobody_elses_job(
    held_scene: Scene, held: HeldExecutor, verb: Any, about: dict[str, Any]
) -> None:
    job = await job_of(held_scene, held_scene.alice, **about)
    forged = await forge(held_scene, HistoryButton(verb, job.id, Place()))
    sentence = await pressed(held_scene, held_scene.bob, forged, LABELS[verb])
    assert sentence == (
        "This job is not in your history here, or not any more. `/history` shows what is."
    )
    assert await held_scene.app.storage.job(job.id) == job
    assert held.started == []


@pytest.mark.parametrize("about", [{"private": True}, {"guild_id": 5}, {"guild_id": None}])
async def test_a_forged_button_reaches_nothing_private_for_moderators(
    held_scene: Scene, about: dict[str, Any]
) -> None:
    job = await job_of(held_scene, held_scene.alice, **about)
    forged = await forge(held_scene, HistoryButton("show", job.id, Place(whose="server")))
    sentence = await pressed(held_scene, held_scene.moderator, forged, "Show")
    assert sentence.startswith("This job is not in your history here")


async def test_a_page_of_the_server_is_refused_to_who_manages_nothing_any_more(
    held_scene: Scene,
) -> None:
    for _ in range(PAGE + 1):
        await job_of(held_scene, held_scene.alice)
    forged = await forge(held_scene, HistoryButton("older", 0, Place(whose="server")))
    sentence = await pressed(held_scene, held_scene.bob, forged, "More")
    assert sentence.startswith("Only those who manage messages")


async def test_a_forged_choice_is_a_sentence(held_scene: Scene) -> None:
    theirs = await job_of(held_scene, held_scene.bob)
    for value in (str(theirs.id), "9" * 90, "-1", "x"):
        options = [discord.SelectOption(label="x", value=value)]
        forged = await forge(held_scene, HistorySelect(Place(), options))
        result = await held_scene.alice.select(forged, [value])
        assert result.response is not None
        assert result.response.content.startswith("This ")
        assert result.response.ephemeral


# what its buttons do


async def test_show_sends_the_whole_result_once_more_to_who_asks_alone(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await held_scene.begin(seed=5, count=2)
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    message = await history(held_scene)
    await choose(held_scene, message, await held_scene.app.storage.job(1))
    result = await held_scene.alice.click(message, label="Show")
    assert result.response is not None
    assert result.response.ephemeral
    assert [each.filename for each in result.response.attachments] == [
        "schnell-1-1.png",
        "schnell-1-2.png",
    ]
    assert fields(result.response)["Seeds"] == "5, 6"


async def test_pictures_that_are_not_kept_are_a_sentence_and_can_be_made_again(
    held_scene: Scene, held: HeldExecutor
) -> None:
    job = await job_of(held_scene, held_scene.alice)
    await held_scene.app.storage.disposal.delete_files(0)
    message = await history(held_scene)
    await choose(held_scene, message, job)
    sentence = await pressed(held_scene, held_scene.alice, message, "Show")
    assert sentence.startswith("The pictures of job 1 are not kept any more.")
    await held_scene.alice.click(message, label="Use again")
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert held.started[0].seed == job.request.seed


async def test_a_job_without_pictures_is_a_sentence(held_scene: Scene) -> None:
    job = await job_of(held_scene, held_scene.alice)
    await held_scene.app.storage._database.change("UPDATE jobs SET outcome = NULL")
    message = await history(held_scene)
    await choose(held_scene, message, job)
    sentence = await pressed(held_scene, held_scene.alice, message, "Show")
    assert sentence == "Job 1 made no pictures. Use again asks for them once more."


async def test_use_again_is_a_new_job_with_the_same_seed_and_images(
    held_scene: Scene, held: HeldExecutor
) -> None:
    result = await held_scene.alice.slash(
        held_scene.channel, "kontext", image=photo(), prompt="make it red", seed=99
    )
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    message = await history(held_scene)
    await choose(held_scene, message, await held_scene.app.storage.job(1))
    result = await held_scene.alice.click(message, label="Use again")
    await held.let_finish(1)
    await held_scene.app.jobs.idle()
    first, second = held.started
    assert second == first
    assert second.images == {"image": photo()[1]}
    again = await held_scene.app.storage.job(2)
    assert (again.repeats, again.origin.user_id) == (1, held_scene.alice.id)
    assert result.response is not None
    assert not result.response.ephemeral
    assert [each.filename for each in result.response.attachments] == ["kontext-2-1.png"]


async def test_what_was_private_is_so_again(held_scene: Scene, held: HeldExecutor) -> None:
    job = await job_of(held_scene, held_scene.alice, private=True)
    message = await history(held_scene)
    await choose(held_scene, message, job)
    result = await held_scene.alice.click(message, label="Use again")
    assert result.response is not None
    assert result.response.ephemeral


async def test_a_moderator_makes_it_again_under_their_own_name(
    held_scene: Scene, held: HeldExecutor
) -> None:
    job = await job_of(held_scene, held_scene.alice)
    message = await history(held_scene, held_scene.moderator, whose="server")
    await held_scene.moderator.select(message, [str(job.id)])
    await held_scene.moderator.click(message, label="Use again")
    assert (await held_scene.app.storage.job(2)).origin.user_id == held_scene.moderator.id


async def test_what_another_member_attached_is_not_to_be_used_again(
    held_scene: Scene, held: HeldExecutor
) -> None:
    request = replace(REQUEST, tool="kontext", images={"image": photo()[1]})
    job = await job_of(held_scene, held_scene.alice, request=request)
    message = await history(held_scene, held_scene.moderator, whose="server")
    await held_scene.moderator.select(message, [str(job.id)])
    assert pressable(message) == ["Show", "Delete", "To the list"]
    forged = await forge(held_scene, HistoryButton("again", job.id, Place(whose="server")))
    sentence = await pressed(held_scene, held_scene.moderator, forged, "Use again")
    assert sentence.startswith("Another member attached images to this, which stay theirs.")
    assert await held_scene.app.storage.personal.jobs(held_scene.moderator.id) == []
    assert held.started == []


async def test_who_is_refused_has_no_images_read(held_scene: Scene, held: HeldExecutor) -> None:
    request = replace(REQUEST, tool="kontext", images={"image": photo()[1]})
    job = await job_of(held_scene, held_scene.alice, request=request)
    await held_scene.app.storage.disposal.delete_files(0)
    rules = {"tools": ["dev"]}
    await held_scene.app.storage.settings.change(job.origin.guild_id or 0, 0, rules, user_id=1)
    message = await history(held_scene)
    await choose(held_scene, message, job)
    sentence = await pressed(held_scene, held_scene.alice, message, "Use again")
    assert sentence.startswith("FLUX.1 Kontext is switched off here.")
    assert held.started == []


async def test_images_that_are_not_kept_are_a_sentence(
    held_scene: Scene, held: HeldExecutor
) -> None:
    request = replace(REQUEST, tool="kontext", images={"image": photo()[1]})
    job = await job_of(held_scene, held_scene.alice, request=request)
    await held_scene.app.storage.disposal.delete_files(0)
    message = await history(held_scene)
    await choose(held_scene, message, job)
    result = await held_scene.alice.click(message, label="Use again")
    assert result.response is not None
    sentence = result.response.content
    assert sentence.startswith("The images that were attached to this are not kept any more.")
    assert held.started == []


async def test_a_deleted_job_is_gone_with_its_message_after_a_question(
    held_scene: Scene, held: HeldExecutor
) -> None:
    posted = await held_scene.begin(seed=5)
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    message = await history(held_scene)
    await choose(held_scene, message, await held_scene.app.storage.job(1))
    await held_scene.alice.click(message, label="Delete")
    assert pressable(message) == ["Delete for good", "Keep it"]
    await held_scene.alice.click(message, label="Keep it")
    assert pressable(message) == ["Show", "Use again", "Delete", "To the list"]
    await held_scene.alice.click(message, label="Delete")
    await held_scene.alice.click(message, label="Delete for good")
    assert "Job 1 is deleted." in text(message)
    assert shown(message) == []
    folder = held_scene.app.client.settings.data_dir
    assert list((folder / "images").iterdir()) == []
    await until(lambda: not is_there(held_scene, posted.id))


async def test_a_deleted_job_takes_along_what_was_posted_of_it_elsewhere(
    held_scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "PAUSE", 0.0)
    job = await job_of(held_scene, held_scene.alice)
    channel = held_scene.app.client.get_channel(held_scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    copy, other = await channel.send("its copy"), await channel.send("something else")
    await held_scene.app.storage.history.note_post(job.id, channel.id, copy.id)
    message = await history(held_scene)
    await choose(held_scene, message, job)
    await held_scene.alice.click(message, label="Delete")
    await held_scene.alice.click(message, label="Delete for good")
    await until(lambda: not is_there(held_scene, copy.id))
    assert is_there(held_scene, other.id)


async def test_a_job_that_runs_is_not_deleted(held_scene: Scene, held: HeldExecutor) -> None:
    await held_scene.begin(seed=5)
    await held.is_busy()
    message = await history(held_scene)
    await choose(held_scene, message, await held_scene.app.storage.job(1))
    await held_scene.alice.click(message, label="Delete")
    sentence = await pressed(held_scene, held_scene.alice, message, "Delete for good")
    assert sentence.startswith("This still waits, is being painted or on its way")
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert (await held_scene.app.storage.job(1)).state == "delivered"


async def test_a_message_that_discord_does_not_delete_leaves_no_job_behind(
    held_scene: Scene,
) -> None:
    job = await job_of(held_scene, held_scene.alice)
    message = await history(held_scene)
    await choose(held_scene, message, job)
    await held_scene.alice.click(message, label="Delete")
    await held_scene.alice.click(message, label="Delete for good")
    assert "Job 1 is deleted." in text(message)


async def test_who_clicks_twice_is_told_that_it_is_gone(held_scene: Scene) -> None:
    job = await job_of(held_scene, held_scene.alice)
    forged = await forge(held_scene, HistoryButton("delete", job.id, Place()))
    await held_scene.app.storage.disposal.delete(job.id)
    sentence = await pressed(held_scene, held_scene.alice, forged, "Delete for good")
    assert sentence.startswith("This job is not in your history here")
