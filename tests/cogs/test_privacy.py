"""`/privacy` as a member meets it: told, given and deleted, and nobody else's data touched."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import discord
import pytest
import simcord
from simcord.backend.errors import BackendError

from bot import export, removals
from bot.records import DEFAULT_FILESIZE_LIMIT
from bot.retention import Retention
from bot.settings import DAY
from tests.cogs.messages import button_labels, description, fields, photo
from tests.conftest import Scene, restarted
from tests.doubles import HeldExecutor

WORDS = "a walrus in the moonlight"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "PAUSE", 0.0)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():
            await asyncio.sleep(0.02)


async def privacy(
    scene: Scene, member: simcord.MemberActor | None = None
) -> simcord.ResponseMessage:
    result = await (member or scene.alice).slash(scene.channel, "privacy")
    assert result.response is not None
    assert result.response.ephemeral
    return result.response


async def painted(scene: Scene, held: HeldExecutor, number: int = 0) -> simcord.ResponseMessage:
    """Have a picture of Alice's painted, after a photo."""
    result = await scene.alice.slash(scene.channel, "kontext", image=photo(), prompt=WORDS)
    await held.let_finish(number)
    await scene.app.jobs.idle()
    assert result.response is not None
    return result.response


async def delete(scene: Scene, message: simcord.ResponseMessage) -> None:
    await scene.alice.click(message, label="Delete")
    assert button_labels(message) == ["Delete everything", "Keep it"]
    await scene.alice.click(message, label="Delete everything")


def everything(folder: Path) -> bytes:
    """Return the bytes of all files of a data folder, with their names."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return b"".join(file.name.encode() + file.read_bytes() for file in files)


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


async def sweep_tomorrow(scene: Scene) -> None:
    """Sweep as it is done a day later."""

    def clock() -> float:
        return time.time() + DAY

    await Retention(scene.app.storage, scene.app.client.leavers, None, clock).sweep()


def is_there(scene: Scene, message: simcord.ResponseMessage) -> bool:
    try:
        scene.env.backend.get_message(scene.channel.id, message.id)
    except BackendError:
        return False
    return True


async def test_it_tells_what_is_kept_and_for_how_long(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held)
    message = await privacy(held_scene)
    told = fields(message)
    assert told["By server"].startswith(f"{held_scene.channel.guild.name}: 1 job, 1 picture of")
    assert told["Attached images"].startswith("1, ")
    assert told["Entries of GPU seconds"] == "1"
    assert told["By server"].endswith("kept until they are deleted")
    for words in ("not in the bot's log", "`banned_members`", "for 30 days"):
        assert words in description(message)
    assert button_labels(message) == ["Export", "Delete"]
    bobs = await privacy(held_scene, held_scene.bob)
    assert fields(bobs)["By server"] == "nothing"


async def test_it_tells_how_long_a_server_keeps_it(held_scene: Scene, held: HeldExecutor) -> None:
    await painted(held_scene, held)
    guild_id = held_scene.channel.guild.id
    await held_scene.app.storage.settings.change(guild_id, 0, {"keep_days": 7}, user_id=1)
    assert fields(await privacy(held_scene))["By server"].endswith("kept for 7 days")
    await held_scene.app.storage.settings.change(guild_id, 0, {"keep_days": 1}, user_id=1)
    assert fields(await privacy(held_scene))["By server"].endswith("kept for 1 day")


async def test_it_works_in_direct_messages(held_scene: Scene, held: HeldExecutor) -> None:
    await painted(held_scene, held)
    result = await held_scene.alice.user.slash("privacy")
    assert result.response is not None
    assert held_scene.channel.guild.name in fields(result.response)["By server"]


async def test_prompts_are_not_in_the_log(
    held_scene: Scene, held: HeldExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await painted(held_scene, held)
        await delete(held_scene, await privacy(held_scene))
    assert WORDS not in caplog.text


async def test_an_export_comes_as_a_direct_message_with_all_that_is_mine(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held)
    result = await held_scene.alice.click(await privacy(held_scene), label="Export")
    assert result.response is not None
    assert result.response.ephemeral
    assert result.response.content == "You have it in a direct message."
    (direct,) = held_scene.alice.user.dm_channel.history()
    assert direct.content == "All that is stored about you, part 1 of 1."
    found = unpacked(await direct.attachments[0].read())
    records = json.loads(found.pop("records.json"))
    assert records["user_id"] == held_scene.alice.id
    assert records["jobs"][0]["request"]["prompt"] == WORDS
    picture = held.started[0].seed
    assert sorted(found.values()) == sorted([b"picture %d" % picture, photo()[1]])


async def test_who_takes_no_direct_messages_gets_the_export_where_they_asked(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held)
    direct = held_scene.alice.user.dm_channel.id
    held_scene.env.inject_error("POST", f"/channels/{direct}/messages", status=403, code=50007)
    result = await held_scene.alice.click(await privacy(held_scene), label="Export")
    assert result.response is not None
    closed = "Here it is, because your direct messages are closed to the bot."
    assert result.response.content == closed
    assert result.response.ephemeral
    assert "records.json" in unpacked(await result.response.attachments[0].read())


async def test_what_discord_does_not_take_directly_comes_where_it_was_asked_for(
    held_scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await painted(held_scene, held)
    monkeypatch.setattr(export, "OVERHEAD", DEFAULT_FILESIZE_LIMIT // 4)  # two files in a part
    message = await privacy(held_scene)
    send = discord.abc.Messageable.send

    async def fail_later(self: discord.abc.Messageable, content: str, **more: Any) -> Any:
        if "part 1 " not in content:
            raise aiohttp.ServerDisconnectedError
        return await send(self, content, **more)

    monkeypatch.setattr(discord.abc.Messageable, "send", fail_later)
    result = await held_scene.alice.click(message, label="Export")
    assert result.response is not None
    assert result.response.content == "Here is what Discord did not take as a direct message."
    (first,) = held_scene.alice.user.dm_channel.history()
    both = first, result.response
    names = [list(unpacked(await each.attachments[0].read())) for each in both]
    assert names[0] == ["records.json", "images/00000001-1.png"]
    assert [name.split("/")[0] for name in names[1]] == ["inputs"]


async def test_a_second_export_is_refused_until_the_first_is_sent(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held)
    message = await privacy(held_scene)
    await held_scene.click_at_once(message, "Export", "Export")
    assert len(held_scene.alice.user.dm_channel.history()) == 1
    assert "Your export is already being put together." in held_scene.env.transcript()
    await held_scene.alice.click(message, label="Export")
    assert len(held_scene.alice.user.dm_channel.history()) == 2


async def test_pictures_that_the_server_holds_back_are_not_in_an_export(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held)
    await held_scene.app.storage._database.change(
        "UPDATE jobs SET look = json_object('verdict', 'withhold')"
    )
    result = await held_scene.alice.click(await privacy(held_scene), label="Export")
    assert result.response is not None
    assert result.response.content == (
        "You have it in a direct message."
        " Without 1 picture, which a server's classifier considers unsafe."
    )
    (direct,) = held_scene.alice.user.dm_channel.history()
    found = unpacked(await direct.attachments[0].read())
    assert [name.split("/")[0] for name in found] == ["records.json", "inputs"]


async def test_nothing_is_deleted_before_it_is_confirmed(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held)
    message = await privacy(held_scene)
    await held_scene.alice.click(message, label="Delete")
    assert "in all servers, for good" in description(message)
    await held_scene.alice.click(message, label="Keep it")
    assert description(message) == "Nothing was deleted."
    assert await held_scene.app.storage.job(1)


async def test_after_deletion_no_file_has_a_byte_of_the_member_but_for_a_days_use(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held)
    await held_scene.alice.slash(
        held_scene.channel, "fill", image=photo(colour="green"), prompt=WORDS, area="centre"
    )  # a draft
    member, folder = held_scene.alice.id, held_scene.app.client.settings.data_dir
    made = b"picture %d" % held.started[0].seed
    traces = [str(member).encode(), member.to_bytes(8, "big"), WORDS.encode(), made]
    traces += [photo()[1], photo(colour="green")[1]]
    assert all(trace in everything(folder) for trace in traces)
    message = await privacy(held_scene)
    await delete(held_scene, message)
    assert "Everything about you is deleted, but for one thing" in description(message)
    assert "your id stays with them for a day or two" in description(message)
    left = everything(folder)
    assert [trace for trace in traces if trace in left] == [member.to_bytes(8, "big")]
    await sweep_tomorrow(held_scene)
    left = everything(folder)
    assert [trace for trace in traces if trace in left] == []


async def test_what_waits_and_what_runs_is_cancelled_and_gone_too(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await held_scene.begin(prompt=WORDS, seed=1)
    await held.is_busy()
    await held_scene.begin(prompt=WORDS, seed=2)
    others = await held_scene.bob.slash(held_scene.channel, "generate", prompt="of bob", seed=3)
    await delete(held_scene, await privacy(held_scene))
    await held.let_finish(1)
    await held_scene.app.jobs.idle()
    assert held.cancelled[0].seed == 1
    assert [request.seed for request in held.started] == [1, 3]
    assert others.response is not None
    assert len(others.response.attachments) == 1
    assert await held_scene.app.storage.personal.jobs(held_scene.alice.id) == []
    left = everything(held_scene.app.client.settings.data_dir)
    assert str(held_scene.alice.id).encode() not in left
    assert WORDS.encode() not in left
    await sweep_tomorrow(held_scene)
    left = everything(held_scene.app.client.settings.data_dir)
    assert held_scene.alice.id.to_bytes(8, "big") not in left


async def test_to_delete_everything_is_no_way_around_a_limit(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held)
    await held_scene.app.storage._database.change("UPDATE usage SET seconds = 9")
    rules = {"seconds_per_member": 5}
    guild_id = held_scene.channel.guild.id
    await held_scene.app.storage.settings.change(guild_id, 0, rules, user_id=1)
    await delete(held_scene, await privacy(held_scene))
    assert (await held_scene.refused()).startswith("You have used")


async def test_the_bots_messages_follow_in_the_background_and_others_stay(
    held_scene: Scene, held: HeldExecutor
) -> None:
    mine = await painted(held_scene, held)
    theirs = await held_scene.bob.slash(held_scene.channel, "generate", prompt="of bob")
    await held.let_finish(1)
    await held_scene.app.jobs.idle()
    assert theirs.response is not None
    await delete(held_scene, await privacy(held_scene))
    await until(lambda: not is_there(held_scene, mine))
    assert is_there(held_scene, theirs.response)


async def test_a_message_that_discord_does_not_delete_does_not_stop_the_others(
    held_scene: Scene, held: HeldExecutor
) -> None:
    messages = [await painted(held_scene, held, number) for number in range(2)]
    held_scene.env.inject_error("DELETE", "/channels/*/messages/*", status=403, code=50013)
    await delete(held_scene, await privacy(held_scene))
    await until(lambda: not is_there(held_scene, messages[0]))
    assert is_there(held_scene, messages[1])  # the latest came first, and was refused


async def test_other_members_keep_everything(held_scene: Scene, held: HeldExecutor) -> None:
    await painted(held_scene, held)
    await held_scene.bob.slash(held_scene.channel, "kontext", image=photo(), prompt="of bob")
    await held.let_finish(1)
    await held_scene.app.jobs.idle()
    storage = held_scene.app.storage
    before = await storage.personal.records(held_scene.bob.id)
    await delete(held_scene, await privacy(held_scene))
    assert await storage.personal.records(held_scene.bob.id) == before
    assert await storage.inputs(2) == {"image": photo()[1]}  # the very image that Alice attached


async def test_a_button_is_always_about_who_presses_it(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held)
    channel = held_scene.app.client.get_channel(held_scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    button: discord.ui.Button[discord.ui.View] = discord.ui.Button(
        label="Delete everything", custom_id="privacy:delete"
    )
    forged = await channel.send(view=discord.ui.View().add_item(button))
    await held_scene.bob.click(forged, label="Delete everything")
    assert (await held_scene.app.storage.job(1)).origin.user_id == held_scene.alice.id


async def test_its_buttons_work_after_a_restart(held_scene: Scene, held: HeldExecutor) -> None:
    await painted(held_scene, held)
    message = await privacy(held_scene)
    async with restarted(held_scene, held_scene.app.client.settings, held) as scene:
        await delete(scene, message)
        assert await scene.app.storage.personal.jobs(scene.alice.id) == []
