"""`/memory` as a member meets it: what is there, what waits, what 8 bits saved."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import discord
import pytest

from bot.application import worker_options
from bot.cogs.memory import MOST_EMBEDS, in_messages, report
from bot.config import Settings
from bot.inference.executor import LocalExecutor
from bot.inference.types import DeviceMemory, Holding, Weights
from tests.conftest import Scene, open_scene

GB = 10**9


def fields(embed: discord.Embed) -> dict[str | None, str | None]:
    return {field.name: field.value for field in embed.fields}


async def look(scene: Scene) -> discord.Embed:
    result = await scene.bob.slash(scene.channel, "memory")
    assert result.response is not None
    assert result.response.ephemeral
    (embed,) = result.response.embeds
    return embed


async def test_after_a_job_its_parts_are_ready_with_their_size(settings: Settings) -> None:
    async with (
        LocalExecutor([worker_options(settings)]) as executor,
        open_scene(settings, executor) as scene,
    ):
        assert fields(await look(scene)) == {"Ready": "nothing yet"}
        await scene.generate(seed=1)
        embed = await look(scene)
    assert embed.title == "CPU"
    ready = fields(embed)["Ready"]
    assert ready is not None
    lines = ready.splitlines()
    # what was used last comes first
    assert [line.partition(" · ")[0] for line in lines] == [
        "autoencoder of FLUX.1-schnell",
        "transformer of FLUX.1-schnell",
        "T5 of FLUX.1-schnell",
        "CLIP of FLUX.1-schnell",
    ]
    assert lines[1].endswith(" · 2.9 MB · 8-bit")
    assert "in bf16 (−4" in (fields(embed)["8 bits"] or "")


async def test_it_answers_while_a_picture_is_painted(scene: Scene) -> None:
    await scene.begin(model="dev", steps=6, seed=1)
    memory = asyncio.ensure_future(scene.app.executor.memory())
    running = await scene.app.storage.unfinished_jobs()
    assert running
    (device,) = await memory
    assert device.total > 0
    await scene.app.jobs.idle()


async def test_many_devices_are_told_of_in_as_many_messages_as_it_takes(scene: Scene) -> None:
    (device,) = await scene.app.executor.memory()
    names = [f"GPU {number}" for number in range(12)]
    # without what other tests have left on it, for messages have a limit of characters as well
    devices = [replace(device, device=name, holdings=()) for name in names]

    async def memory() -> list[DeviceMemory]:
        return devices

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene.app.executor, "memory", memory)
        result = await scene.bob.slash(scene.channel, "memory")
    answers = [message for message in scene.channel.history(viewer=scene.bob) if message.embeds]
    assert [embed.title for message in answers for embed in message.embeds] == names
    assert all(message.flags.ephemeral for message in answers)
    assert result.response is not None
    assert len(result.response.embeds) == MOST_EMBEDS


async def test_where_no_device_answers_it_says_so_and_what_to_try(scene: Scene) -> None:
    async def memory() -> list[DeviceMemory]:
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene.app.executor, "memory", memory)
        result = await scene.bob.slash(scene.channel, "memory")
    assert result.response is not None
    assert result.response.content == (
        "No device has answered in time. Please try again in a moment."
    )
    assert scene.env.errors  # simcord wants errors to be looked at, handled ones too


def test_reports_that_are_too_long_for_one_message_go_into_several() -> None:
    long = discord.Embed(title="GPU", description="x" * 2000)
    assert [len(each) for each in in_messages([long] * 5)] == [2, 2, 1]
    assert [len(each) for each in in_messages([discord.Embed(title="GPU")] * 11)] == [10, 1]


def test_a_long_list_is_cut_at_a_line_and_host_memory_has_its_own() -> None:
    weights = Weights(actual=12 * GB, bfloat16=24 * GB, float32=48 * GB)
    holdings = tuple(
        Holding(
            repo_id=f"black-forest-labs/FLUX.1-number-{number}",
            part="transformer",
            quantization="8-bit",
            on_device=number < 30,
            weights=weights,
        )
        for number in range(31)
    )
    memory = DeviceMemory(
        device="NVIDIA H100",
        free=GB,
        total=80 * GB,
        budget=78 * GB,
        host_budget=90 * GB,
        holdings=holdings,
    )
    embed = report(memory)
    ready = fields(embed)["Ready"]
    assert ready is not None
    assert len(ready) <= 1024
    assert ready.endswith("8-bit\nand 11 more")
    assert ready.startswith("transformer of FLUX.1-number-29 · 12.0 GB · 8-bit\n")
    assert fields(embed)["Waiting in host memory"] == (
        "transformer of FLUX.1-number-30 · 12.0 GB · 8-bit"
    )
    assert fields(embed)["8 bits"] == (
        "372.0 GB instead of 744.0 GB in bf16 (−50 %) or 1488.0 GB in fp32 (−75 %)"
    )
