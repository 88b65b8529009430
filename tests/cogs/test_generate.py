"""`/generate` as a member meets it: the real client on a simulated Discord, the tiny models."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import discord
import pytest
import simcord

from bot import delivery
from bot.cogs._results import OFFERS, ROWS
from tests.cogs.messages import button_labels, fields
from tests.conftest import Scene, picture
from tools.train_tiny.scoring import Reading, read_picture


@pytest.fixture(autouse=True)
def _told_promptly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PROGRESS_INTERVAL", 0.1)


async def until_painting(
    scene: Scene, message: simcord.ResponseMessage, shown: str = "Painting"
) -> None:
    """Wait until the message shows steps, or what else is to be `shown` of them."""
    while shown not in (message.embeds[0].description or ""):
        await asyncio.sleep(0.02)
        assert scene.app.jobs.busy, message.embeds[0].description


async def test_the_answer_is_a_picture_with_all_that_it_takes_to_have_it_again(
    scene: Scene,
) -> None:
    message = await scene.generate(seed=7)
    (attachment,) = message.attachments
    image = picture(await attachment.read())
    assert image.size == (128, 128)
    assert read_picture(image) == Reading(colour="red", shape="circle", background="blue")
    assert attachment.filename == "schnell-1-1.png"
    shown = fields(message)
    assert shown["Seed"] == "7"
    assert shown["Size"] == "128×128"
    assert shown["Steps"] == "4"
    assert "Guidance" not in shown
    assert shown["Quantization"] == "8-bit"
    for stage in ("wait", "load", "encode", "denoise", "decode"):
        assert f"{stage} " in shown["Time"]
    assert "peak" in shown["Memory"]
    assert "resident" in shown["Memory"]
    assert "in bf16" in shown["Memory"]
    assert "in fp32" in shown["Memory"]
    embed = message.embeds[0]
    assert embed.title == "FLUX.1 schnell"
    assert embed.description == "> a large red circle on a blue background"
    assert button_labels(message) == [each.label for each in OFFERS.values() if each.row < ROWS]


async def test_all_options_reach_the_picture(scene: Scene) -> None:
    message = await scene.generate(
        model="dev",
        size="landscape",
        steps=3,
        guidance=2.5,
        seed=4294967295,
        count=3,
        quantization="None",
        spoiler=True,
    )
    assert [a.filename for a in message.attachments] == [
        f"SPOILER_dev-1-{number}.png" for number in (1, 2, 3)
    ]
    sizes = [picture(await a.read()).size for a in message.attachments]
    assert sizes == [(144, 96)] * 3
    shown = fields(message)
    assert shown["Seeds"] == "4294967295, 0, 1"
    assert (shown["Steps"], shown["Guidance"], shown["Quantization"]) == ("3", "2.5", "None")


async def test_a_seed_that_is_left_out_is_drawn_and_shown_and_works_again(scene: Scene) -> None:
    first = await scene.generate()
    again = await scene.generate(seed=int(fields(first)["Seed"]))
    pictures = [picture(await m.attachments[0].read()).tobytes() for m in (first, again)]
    assert pictures[0] == pictures[1]


async def test_a_private_answer_is_seen_by_its_member_alone(scene: Scene) -> None:
    message = await scene.generate(private=True)
    assert message.ephemeral
    assert len(message.attachments) == 1


async def test_a_prompt_pings_nobody_and_formats_nothing(scene: Scene) -> None:
    message = await scene.generate(prompt="@everyone **bold** <@&1> ||hidden||\n# head")
    description = message.embeds[0].description or ""
    assert "@everyone" not in description
    assert "**bold**" not in description
    assert "||hidden||" not in description
    assert description.count("\n") == 0
    assert not message.message.mention_everyone


async def test_a_long_prompt_is_cut_in_the_message_and_kept_in_the_picture(scene: Scene) -> None:
    prompt = "a red circle, " * 140 + "end"
    message = await scene.generate(prompt=prompt)
    description = message.embeds[0].description or ""
    assert len(description) <= 4096
    assert description.endswith("…")
    content = await message.attachments[0].read()
    assert f'"prompt": {json.dumps(prompt)}'.encode() in content
    assert "the model read the first 256" in fields(message)["Note"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prompt": "   "}, "The prompt is empty."),
        ({"steps": 13}, "`steps` is 13, but it goes from 1 to 12 here."),
        ({"guidance": 3.0}, "FLUX.1 schnell is distilled and takes no `guidance`."),
    ],
)
async def test_what_a_tool_does_not_take_is_refused_in_private(
    scene: Scene, options: dict[str, Any], sentence: str
) -> None:
    assert (await scene.refused(**options)).startswith(sentence)
    assert not scene.app.jobs.busy


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": ""},
        {"prompt": "x" * 2001},
        {"steps": 0},
        {"count": 0},
        {"count": 5},
        {"seed": -1},
        {"model": "krea"},
        {"size": "huge"},
        {"quantization": "4-bit"},
    ],
)
async def test_discord_itself_refuses_what_no_tool_takes(
    scene: Scene, options: dict[str, Any]
) -> None:
    with pytest.raises(simcord.OptionError):
        await scene.begin(**options)


async def test_progress_is_shown_step_by_step_with_a_cancel_button(scene: Scene) -> None:
    message = await scene.begin(model="dev", steps=50, count=4)
    assert button_labels(message) == ["Cancel"]
    await until_painting(scene, message, " left")
    assert "/200" in (message.embeds[0].description or "")
    assert button_labels(message) == ["Cancel"]
    await scene.alice.click(message, label="Cancel")
    await scene.app.jobs.idle()


async def test_cancel_stops_a_running_job(scene: Scene) -> None:
    message = await scene.begin(model="dev", steps=50, count=4)
    await until_painting(scene, message)
    await scene.alice.click(message, label="Cancel")
    await scene.app.jobs.idle()
    assert (message.embeds[0].description or "").endswith("Cancelled.")
    assert message.attachments == []
    assert button_labels(message) == []
    assert (await scene.app.storage.job(1)).state == "cancelled"


async def test_cancel_takes_a_waiting_job_out_of_the_queue(scene: Scene) -> None:
    running = await scene.begin(model="dev", steps=50, count=4)
    waiting = await scene.begin(prompt="a green star")
    assert "Waiting: 1 job before this one." in (waiting.embeds[0].description or "")
    await scene.alice.click(waiting, label="Cancel")
    assert (waiting.embeds[0].description or "").endswith("Cancelled.")
    await scene.alice.click(running, label="Cancel")
    await scene.app.jobs.idle()
    assert waiting.attachments == []


async def test_another_member_cannot_cancel_but_a_moderator_can(scene: Scene) -> None:
    message = await scene.begin(model="dev", steps=50, count=4)
    refusal = await scene.bob.click(message, label="Cancel")
    assert refusal.followups == []
    assert refusal.response is not None
    assert refusal.response.content.startswith("Only the member who asked for this")
    assert refusal.response.ephemeral
    assert scene.app.jobs.busy
    await scene.moderator.click(message, label="Cancel")
    await scene.app.jobs.idle()
    assert (message.embeds[0].description or "").endswith("Cancelled by mod.")


async def test_a_cancel_that_comes_too_late_says_so(scene: Scene) -> None:
    message = await scene.begin(model="dev", steps=50, count=4)
    button = message.components[0]["components"][0]["custom_id"]
    await scene.alice.click(message, label="Cancel")
    await scene.app.jobs.idle()
    # the same button on a screen that has not caught up yet
    late = await scene.env.bot.get_channel(scene.channel.id).send(  # type: ignore[union-attr]
        view=discord.ui.View().add_item(discord.ui.Button(label="Cancel", custom_id=button))
    )
    result = await scene.alice.click(late, label="Cancel")
    assert [m.content for m in result.followups] == [
        "This is not waiting or running any more, so it cannot be cancelled."
        " `/queue` shows what is."
    ]


async def test_jobs_come_in_their_order_and_each_once(scene: Scene) -> None:
    messages = [await scene.begin(seed=seed) for seed in (1, 2, 3)]
    await scene.app.jobs.idle()
    assert [fields(m)["Seed"] for m in messages] == ["1", "2", "3"]
    assert len(scene.channel.history(viewer=scene.alice)) == 3


async def test_a_job_goes_on_when_its_worker_is_killed_and_the_next_one_works(
    scene: Scene,
) -> None:
    message = await scene.begin(model="dev", steps=50)
    await until_painting(scene, message)
    os.kill(scene.app.executor.process_ids[0], signal.SIGKILL)  # type: ignore[attr-defined]
    await scene.app.jobs.idle()
    assert len(message.attachments) == 1
    assert len((await scene.generate()).attachments) == 1


@pytest.mark.parametrize("taken", [False, True], ids=["lost", "taken"])
async def test_an_acknowledgement_on_a_broken_connection_is_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    defer, calls = discord.InteractionResponse.defer, []

    async def break_at_first(response: Any, **options: Any) -> Any:
        calls.append(options)
        if len(calls) == 1:
            if taken:
                await defer(response, **options)
                response._response_type = None  # the answer is lost, so the client does not know
            raise ConnectionResetError(104, "Connection reset by peer")
        return await defer(response, **options)

    monkeypatch.setattr(discord.InteractionResponse, "defer", break_at_first)
    message = await scene.generate(seed=7)
    assert len(calls) == 2
    assert len(message.attachments) == 1
    assert len(scene.channel.history(viewer=scene.alice)) == 1
