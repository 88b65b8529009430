"""The client: what Discord is told of it, and the funnel for all errors."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from types import SimpleNamespace

import discord
import psutil
import pytest

from bot.application import application
from bot.client import FluxTree
from bot.config import Settings
from bot.errors import ConfigurationError, StorageError
from bot.inference.executor import LocalExecutor
from bot.inference.previews import MaskPreviews
from bot.jobs import Jobs
from tests.conftest import Scene, open_scene
from tests.doubles import HeldExecutor


@pytest.fixture
async def scene(settings: Settings, previews: MaskPreviews) -> AsyncIterator[Scene]:
    async with open_scene(settings, HeldExecutor(), previews=previews) as scene:
        yield scene


def parameters(scene: Scene) -> dict[str, discord.app_commands.Parameter]:
    command = scene.app.client.tree.get_command("generate")
    assert isinstance(command, discord.app_commands.Command)
    return {parameter.name: parameter for parameter in command.parameters}


async def test_models_that_the_family_lacks_are_not_offered(scene: Scene) -> None:
    assert [c.value for c in parameters(scene)["model"].choices] == ["schnell", "dev"]


async def test_the_real_family_offers_all_three_in_full_size(settings: Settings) -> None:
    flux = dataclasses.replace(settings, flux_models="flux")
    async with open_scene(flux, HeldExecutor()) as scene:
        found = parameters(scene)
    assert [c.value for c in found["model"].choices] == ["schnell", "dev", "krea"]
    assert [c.name for c in found["size"].choices] == [
        "square 1024×1024",
        "portrait 832×1216",
        "landscape 1216×832",
        "tall 768×1344",
        "wide 1344×768",
        "small square 512×512",
    ]


async def test_every_option_of_the_contract_is_there_and_described(scene: Scene) -> None:
    found = parameters(scene)
    assert list(found) == [
        "prompt",
        "model",
        "size",
        "sweep",
        "steps",
        "guidance",
        "seed",
        "count",
        "quantization",
        "private",
        "spoiler",
    ]
    assert [name for name, parameter in found.items() if parameter.required] == ["prompt"]
    assert all(len(str(parameter.description)) > 5 for parameter in found.values())
    ranges = {n: (p.min_value, p.max_value) for n, p in found.items() if p.max_value is not None}
    assert ranges == {
        "prompt": (1, 2000),
        "sweep": (1, 200),
        "steps": (1, 50),
        "guidance": (0.0, 10.0),
        "seed": (0, 4294967295),
        "count": (1, 4),
    }


async def test_the_bot_asks_for_no_privileged_intent(scene: Scene) -> None:
    assert scene.app.client.intents == discord.Intents(guilds=True, guild_messages=True)


async def test_an_error_that_was_not_foreseen_is_one_neutral_sentence_with_a_reference(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise KeyError("secret detail")

    monkeypatch.setattr(Jobs, "submit", fail)
    message = await scene.begin()
    assert scene.env.errors
    assert "Something went wrong on the bot's side." in message.content
    assert "secret detail" not in message.content
    reference = message.content.split("`")[1]
    assert f"reference {reference}" in caplog.text
    assert "KeyError: 'secret detail'" in caplog.text


async def test_an_error_of_ours_after_the_acknowledgement_replaces_the_thinking(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StorageError(settings.data_dir, "Read-only file system")

    monkeypatch.setattr(Jobs, "submit", fail)
    message = await scene.begin()
    assert scene.env.errors
    assert "cannot be used: Read-only file system. Mend it" in message.content
    assert len(scene.channel.history(viewer=scene.alice)) == 1


async def test_an_error_of_a_button_goes_through_the_same_funnel(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    message = await scene.begin()

    async def fail(*_: object, **__: object) -> None:
        raise KeyError("secret detail")

    monkeypatch.setattr(Jobs, "cancel", fail)
    result = await scene.alice.click(message, label="Cancel")
    (answer,) = result.followups
    assert answer.ephemeral
    assert f"reference {answer.content.split('`')[1]}" in caplog.text


async def test_the_executor_is_closed_with_the_application(settings: Settings) -> None:
    async with application(settings) as app:
        assert isinstance(app.executor, LocalExecutor)
        while not app.executor.process_ids:
            await asyncio.sleep(0.01)
        (process_id,) = app.executor.process_ids
    assert not psutil.pid_exists(process_id)


async def test_a_button_of_an_earlier_process_answers_before_this_one_has_sent_any(
    scene: Scene,
) -> None:
    channel = scene.app.client.get_channel(scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    left = await channel.send(
        view=discord.ui.View().add_item(discord.ui.Button(label="Cancel", custom_id="cancel:404"))
    )
    result = await scene.alice.click(left, label="Cancel")
    assert result.response is not None
    assert result.response.content == "This job is not known any more. Please send a new command."
    assert result.response.ephemeral


async def test_a_server_that_the_bot_is_not_in_is_named_with_its_variable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbid(*_: object, **__: object) -> None:
        response = SimpleNamespace(status=403, reason="Forbidden")
        raise discord.Forbidden(response, {"code": 50001, "message": "Missing Access"})  # type: ignore[arg-type]

    # simcord takes commands for servers that it does not know
    monkeypatch.setattr(FluxTree, "sync", forbid)
    elsewhere = dataclasses.replace(settings, dev_guild_id=123456789012345678)
    with pytest.raises(ConfigurationError, match="DEV_GUILD_ID is 123456789012345678, but"):
        async with open_scene(elsewhere, HeldExecutor()):
            pass
