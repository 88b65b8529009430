"""`/fill` on the wire: attached files, the preview of the mask, and what becomes of it."""

from __future__ import annotations

import asyncio
import io
import signal
from typing import Any

import pytest
from PIL import Image

from tests.cogs.messages import mask, photo

from .bot_process import BotProcess
from .conftest import Operator
from .fake_discord import FakeDiscord
from .messages import EPHEMERAL, STRANGER_ID, Interaction, Message, Version

pytestmark = pytest.mark.asyncio(loop_scope="module")

CDN = r"/cdn/.*"
BUTTONS = ["grow", "shrink", "feather", "invert", "paint", "undo", "cancel"]


def verbs(version: Version) -> list[str]:
    return [custom_id.split(":")[1] for custom_id in version.custom_ids]


def has_picture(version: Version) -> bool:
    return any(name.endswith(".png") for name in version.files)


def button(message: Message, verb: str) -> str:
    return next(each for each in message.now.custom_ids if f":{verb}:" in each)


async def fill(discord: FakeDiscord, **options: Any) -> Message:
    """Give `/fill` and return its preview."""
    files = {"image": photo()[1], "mask": mask()[1]}
    message = await discord.slash("fill", **files, prompt="a star @everyone", **options)
    await message.until(lambda version: verbs(version) == BUTTONS)
    return message


async def reply(click: Interaction) -> Message:
    """Return the first message that follows upon a click."""
    async with asyncio.timeout(20):
        while not click.replies:
            await asyncio.sleep(0.02)
    return click.replies[0]


async def test_the_preview_is_private_and_shows_the_picture_with_its_mask(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    message = await fill(discord)
    assert message.acknowledged_after < 3
    assert message.now.flags & EPHEMERAL
    (jpeg,) = message.now.files.values()
    assert Image.open(io.BytesIO(jpeg)).size == (128, 128)


async def test_painting_answers_with_a_public_message_that_becomes_the_picture(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    preview = await fill(discord, seed=7)
    await discord.click(preview, button(preview, "feather"))
    await preview.reads("The mask is feathered.")
    click = await discord.click(preview, button(preview, "paint"))
    final = await preview.reads("being painted, for all to see")
    assert final.custom_ids == []
    assert len(final.files) == 1
    message = await reply(click)
    assert not message.now.flags & EPHEMERAL
    painted = await message.until(has_picture)
    assert list(painted.files) == ["fill-1-1.png"]
    assert await operator.job_is(message, "delivered")


async def test_a_private_picture_takes_the_place_of_its_preview(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    preview = await fill(discord, private=True)
    click = await discord.click(preview, button(preview, "paint"))
    await preview.until(has_picture)
    assert click.replies == []
    assert preview.now.flags & EPHEMERAL
    assert await operator.job_is(preview, "delivered")


async def test_a_stranger_is_refused(bot: BotProcess, discord: FakeDiscord) -> None:
    preview = await fill(discord)
    refused = await discord.click(preview, button(preview, "paint"), user_id=STRANGER_ID)
    assert refused.original is not None
    assert "Only the member who asked for this preview" in refused.original.now.text
    assert refused.replies == []


@pytest.mark.scenario(
    "process",
    "The bot is killed (SIGKILL) while the preview of a mask is open",
    outcome="The buttons of the preview work after the next start.",
)
async def test_the_buttons_outlive_a_process_that_was_killed(
    discord: FakeDiscord, operator: Operator
) -> None:
    bot = await operator.running()
    preview = await fill(discord)
    bot.process.kill()
    assert await bot.exit_code(5) == -signal.SIGKILL
    await operator.running()
    await discord.click(preview, button(preview, "grow"))
    await preview.reads("The mask is grown.")
    await discord.click(preview, button(preview, "cancel"))
    final = await preview.reads("Cancelled: nothing is painted.")
    assert final.custom_ids == []
    assert final.files == {}


@pytest.mark.scenario(
    "CDN",
    "The connection is reset while a file that a member attached is read",
    outcome="It is read again, and all goes on as usual.",
)
async def test_a_file_on_a_broken_connection_is_read_again(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    discord.cut("GET", CDN)
    await fill(discord)


@pytest.mark.scenario(
    "CDN",
    "A file that a member attached has expired or was deleted (404)",
    outcome="A sentence says so and asks to attach it once more.",
)
async def test_a_file_that_has_gone_is_one_sentence(bot: BotProcess, discord: FakeDiscord) -> None:
    discord.fail("GET", CDN, status=404, times=2)
    message = await discord.slash("fill", image=photo()[1], prompt="a star", area="left")
    final = await message.reads("The file `image.png` could not be read from Discord")
    assert final.custom_ids == []


@pytest.mark.scenario(
    "REST",
    "The answer to the click on *Paint* is lost",
    outcome="A sentence says so, the preview stays, and a second click paints.",
)
async def test_a_click_whose_answer_is_lost_loses_nothing(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    preview = await fill(discord)
    discord.cut("POST", r"/webhooks/.*")
    click = await discord.click(preview, button(preview, "paint"))
    await preview.until(lambda version: verbs(version) == BUTTONS and len(preview.history) > 3)
    assert "Discord did not take that just now." in (await reply(click)).now.text
    again = await discord.click(preview, button(preview, "paint"))
    message = await reply(again)
    await message.until(has_picture)
