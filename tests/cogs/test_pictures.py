"""The two commands in the menu of a message, on photos and on the bot's own, with tiny models."""

from __future__ import annotations

from typing import Any

import pytest
import simcord

from bot.cogs import _attachments
from bot.cogs.pictures import EDIT, VARY
from bot.config import Settings
from bot.inference.executor import LocalExecutor
from bot.records import Job
from tests.cogs.messages import answer, photo, refusal
from tests.conftest import Scene, picture, restarted
from tools.train_tiny.scoring import read_picture

GREEN = {"prompt": "make the circle green"}
FEW = {"kontext": 6, "redux": 2}
"""Steps enough for pictures in the right colours, where somebody looks at them."""


@pytest.fixture
async def scene(scene: Scene) -> Scene:
    """The bot on a server where these commands take few steps."""
    store, guild_id = scene.app.storage.settings, scene.channel.guild.id
    await store.change(guild_id, 0, {"steps": FEW}, user_id=scene.moderator.id)
    return scene


async def choose(
    scene: Scene, menu: str, message: Any, values: dict[str, Any]
) -> simcord.ResponseMessage:
    """Choose a command in the menu of a message as Bob, answer its questions, and wait."""
    shown = await scene.bob.context_menu(scene.channel, menu, message)
    result = await scene.bob.submit_modal(shown, values)
    await scene.app.jobs.idle()
    assert result.response is not None
    return result.response


async def job_of(scene: Scene, message: simcord.ResponseMessage) -> Job:
    job = await scene.app.storage.history.of_message(message.id)
    assert job is not None
    return job


async def test_a_photo_that_a_member_posted_is_edited(scene: Scene) -> None:
    posted = await scene.alice.send(scene.channel, "look", attachments=[photo()])
    message = await choose(scene, EDIT, posted, GREEN)
    assert read_picture(picture(await message.attachments[0].read())).colour == "green"
    assert (await job_of(scene, message)).origin.user_id == scene.bob.id


@pytest.mark.parametrize(("variation", "strength"), [("subtle", 1.0), ("strong", 0.5)])
async def test_a_photo_is_varied_as_much_as_was_chosen(
    scene: Scene, variation: str, strength: float
) -> None:
    posted = await scene.alice.send(scene.channel, "look", attachments=[photo()])
    values = {"variation": [variation], "prompt": "a red circle"}
    request = (await job_of(scene, await choose(scene, VARY, posted, values))).request
    assert (request.tool, request.strength) == ("redux", strength)
    assert request.prompt == "a red circle"


async def test_of_several_pictures_one_is_chosen(scene: Scene) -> None:
    files = [photo(colour="blue"), photo(colour="yellow")]
    posted = await scene.alice.send(scene.channel, attachments=files)
    message = await choose(scene, EDIT, posted, GREEN | {"picture": ["1"]})
    assert read_picture(picture(await message.attachments[0].read())).background == "yellow"


async def test_of_the_bots_own_it_takes_the_pictures_that_it_keeps(scene: Scene) -> None:
    first = await scene.generate(seed=7, count=2)
    message = await choose(scene, EDIT, first, GREEN | {"picture": ["1"]})
    result = await scene.app.storage.result(await job_of(scene, first))
    inputs = await scene.app.storage.inputs((await job_of(scene, message)).id)
    assert inputs["image"] == result.images[1]


async def test_a_forwarded_photo_counts_as_one(scene: Scene) -> None:
    posted = await scene.alice.send(scene.channel, "look", attachments=[photo()])
    forwarded = await scene.alice.forward(posted, scene.channel)
    message = await choose(scene, EDIT, forwarded, GREEN)
    assert (await job_of(scene, message)).request.tool == "kontext"


@pytest.mark.parametrize("menu", [EDIT, VARY])
async def test_a_message_without_pictures_is_refused_in_a_sentence(scene: Scene, menu: str) -> None:
    notes = ("notes.txt", b"nothing to see")
    posted = await scene.alice.send(scene.channel, "hello", attachments=[notes])
    result = await scene.bob.context_menu(scene.channel, menu, posted)
    assert refusal(scene, result) == "This message has no pictures. Choose one that has."


async def test_what_was_hidden_stays_hidden(scene: Scene) -> None:
    name, content = photo()
    posted = await scene.alice.send(scene.channel, attachments=[(f"SPOILER_{name}", content)])
    message = await choose(scene, EDIT, posted, GREEN)
    assert message.attachments[0].filename.startswith("SPOILER_")


async def test_what_is_switched_off_is_refused(scene: Scene) -> None:
    posted = await scene.alice.send(scene.channel, attachments=[photo()])
    store, guild_id = scene.app.storage.settings, scene.channel.guild.id
    await store.change(guild_id, 0, {"tools": ("schnell",)}, user_id=scene.moderator.id)
    shown = await scene.bob.context_menu(scene.channel, EDIT, posted)
    result = await scene.bob.submit_modal(shown, GREEN)
    assert answer(result).startswith("FLUX.1 Kontext is switched off here.")


async def test_a_form_that_was_open_at_a_restart_is_answered(
    scene: Scene, settings: Settings, executor: LocalExecutor
) -> None:
    posted = await scene.alice.send(scene.channel, attachments=[photo()])
    shown = await scene.bob.context_menu(scene.channel, EDIT, posted)
    async with restarted(scene, settings, executor):
        result = await scene.bob.submit_modal(shown, GREEN)
        assert answer(result).startswith("The bot was restarted while this was open.")


async def test_a_photo_that_is_too_large_is_refused_before_anything_is_typed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_attachments, "MAX_BYTES", 100)
    posted = await scene.alice.send(scene.channel, attachments=[photo()])
    result = await scene.bob.context_menu(scene.channel, EDIT, posted)
    assert refusal(scene, result).startswith("`image` has")
