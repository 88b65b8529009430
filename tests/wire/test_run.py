"""`python -m bot run`, from its start to its end, as Discord and the operator see it."""

from __future__ import annotations

import io
import math
import re
import signal
import time
from typing import Any

import psutil
import pytest
from PIL import Image

from bot.__main__ import EX_CONFIG

from .bot_process import BotProcess, gone
from .conftest import Operator
from .fake_discord import FakeDiscord
from .messages import STRANGER_ID, Message, Version
from .rest import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

GUILDS, GUILD_MESSAGES = 1 << 0, 1 << 9
COMPONENTS_V2 = 1 << 15
WEBHOOK = r"/webhooks/.*"
PICTURE = r".*\.png"
RESTARTING = "The bot is restarting. This goes on by itself when it is back."


def has_picture(version: Version) -> bool:
    return any(name.endswith(".png") for name in version.files)


def shows_work(version: Version) -> bool:
    return bool(version.custom_ids) and not re.search("Starting|Waiting", version.text)


async def picture(discord: FakeDiscord, **options: Any) -> Message:
    message = await discord.slash("generate", prompt="a red circle", **options)
    await message.until(has_picture)
    return message


async def test_a_bot_that_starts_asks_for_no_more_than_it_needs(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    (identify,) = discord.gateway.identifies
    assert identify["intents"] == GUILDS | GUILD_MESSAGES
    assert identify["shard"] == [0, 1]
    generate = next(each for each in discord.rest.commands if each["name"] == "generate")
    model = next(each for each in generate["options"] if each["name"] == "model")
    assert {each["value"] for each in model["choices"]} == {"schnell", "dev"}


async def test_no_process_that_the_bot_starts_has_its_token(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    children = psutil.Process(bot.process.pid).children(recursive=True)
    assert {each.pid for each in bot.workers()} < {each.pid for each in children}  # decoders, too
    for child in children:
        assert TOKEN not in child.environ().values(), child.cmdline()


async def test_generate_is_acknowledged_at_once_and_ends_in_a_picture(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    message = await discord.slash("generate", prompt="a red circle @everyone", seed=7)
    assert message.acknowledged_after < 3
    final = await message.until(has_picture)
    (png,) = final.files.values()
    assert Image.open(io.BytesIO(png)).size == (128, 128)
    (embed,) = final.embeds
    assert {"name": "Seed", "value": "7", "inline": True} in embed["fields"]
    assert any(version.custom_ids for version in message.history)
    assert {each.partition(":")[0] for each in final.custom_ids} == {"made"}
    assert await operator.job_is(message, "delivered")


@pytest.mark.parametrize("expired", [False, True])
async def test_several_pictures_are_a_gallery_that_discord_takes(
    bot: BotProcess, discord: FakeDiscord, operator: Operator, expired: bool
) -> None:
    if expired:
        discord.fail("PATCH", WEBHOOK, status=401, code=50027, file=PICTURE, times=math.inf)
    message = await discord.slash(
        "generate", prompt="a red circle @everyone", seed=7, count=2, spoiler=True
    )
    final = await message.until(has_picture)
    assert (final.content, final.embeds) == ("", [])
    assert final.flags & COMPONENTS_V2
    assert [each["media"]["url"] for each in final.gallery] == [
        f"attachment://{name}" for name in final.files
    ]
    assert [each["description"] for each in final.gallery] == ["a red circle @everyone"] * 2
    assert all(each["spoiler"] for each in final.gallery)
    assert "**Seeds** 7, 8" in final.text
    assert final.route.startswith("PATCH /channels/") == expired
    assert await operator.job_is(message, "delivered")


async def test_cancel_works_for_who_asked_and_for_no_stranger(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    with bot.paused():
        message = await discord.slash("generate", prompt="a red circle")
        shown = await message.until(lambda version: version.custom_ids)
        refused = await discord.click(message, shown.custom_ids[0], user_id=STRANGER_ID)
        assert refused.original is not None
        assert "Only the member who asked for this" in refused.original.now.text
        await discord.click(message, shown.custom_ids[0])
        final = await message.reads("Cancelled.")
    assert final.custom_ids == []
    assert await operator.job_is(message, "cancelled")


async def test_a_gateway_that_drops_is_resumed_with_the_commands_of_the_meantime(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    resumes = len(discord.gateway.resumes)
    await discord.gateway.drop()
    await picture(discord)
    assert len(discord.gateway.resumes) == resumes + 1


@pytest.mark.scenario(
    "REST",
    "The fifteen minutes in which a command can be answered are over (50027)",
    outcome="The picture arrives by an edit of the bot's own.",
)
async def test_a_picture_comes_by_the_bot_itself_when_the_interaction_has_expired(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    discord.fail("PATCH", WEBHOOK, status=401, code=50027, file=PICTURE, times=math.inf)
    message = await picture(discord)
    assert message.now.route.startswith("PATCH /channels/")
    assert {each.partition(":")[0] for each in message.now.custom_ids} == {"made"}
    assert await operator.job_is(message, "delivered")


@pytest.mark.scenario(
    "REST",
    "Discord answers 503 when the picture is delivered",
    outcome="The picture arrives a second later.",
)
async def test_a_picture_comes_once_when_discord_is_unavailable_for_a_moment(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    discord.fail("PATCH", WEBHOOK, status=503, file=PICTURE)
    message = await picture(discord)
    assert await operator.job_is(message, "delivered")
    assert sum(has_picture(version) for version in message.history) == 1


@pytest.mark.scenario(
    "worker",
    "The worker is killed while it makes a picture",
    outcome="Another one takes its place and makes the picture, which arrives. The connection to"
    " Discord stays.",
)
async def test_a_worker_that_is_killed_is_replaced_and_its_job_begun_again(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    await picture(discord)
    start = time.monotonic()
    message = await discord.slash("generate", prompt="a red circle", model="dev", steps=50)
    await message.until(shows_work)
    (worker,) = bot.workers()
    worker.kill()
    final = await message.until(has_picture)
    assert {each.partition(":")[0] for each in final.custom_ids} == {"made"}
    assert await operator.job_is(message, "delivered")
    assert sum(has_picture(version) for version in message.history) == 1
    await picture(discord)
    # the new worker has imported and loaded everything meanwhile, and no heartbeat was missed
    assert discord.gateway.longest_gap(start) < 2 * discord.gateway.heartbeat_interval


@pytest.mark.scenario(
    "process",
    "The bot is stopped (SIGTERM) while it makes a picture and others wait",
    outcome="The picture that is being made arrives. Who waits reads that it goes on by itself, and"
    " their pictures arrive after the next start.",
)
async def test_sigterm_lets_the_running_job_finish_and_the_waiting_one_goes_on_after_it(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    await picture(discord)
    workers = bot.workers()
    with bot.paused():
        running = await discord.slash("generate", prompt="a red circle")
        await running.reads("Starting")
        waiting = await discord.slash("generate", prompt="a blue square")
        await waiting.reads("1 job before")
        bot.process.send_signal(signal.SIGTERM)
    assert await bot.exit_code(30) == 0
    assert has_picture(running.now)
    assert await operator.job_is(running, "delivered")
    await waiting.reads(RESTARTING)
    assert await operator.job_is(waiting, "queued")
    assert await gone(workers, seconds=1)
    await operator.running()
    await waiting.until(has_picture)
    assert await operator.job_is(waiting, "delivered")


@pytest.mark.scenario(
    "process",
    "The bot is killed (SIGKILL) while it makes a picture and others wait",
    outcome="All pictures arrive after the next start.",
)
async def test_after_sigkill_the_worker_ends_and_the_next_start_makes_the_pictures(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    running = await discord.slash("generate", prompt="a red circle", model="dev", steps=50)
    await running.until(shows_work)
    waiting = await discord.slash("generate", prompt="a blue square")
    await waiting.reads("1 job before")
    workers = bot.workers()
    bot.process.kill()
    assert await bot.exit_code(5) == -signal.SIGKILL
    assert await gone(workers, seconds=5)
    await operator.running()
    for message in (running, waiting):
        final = await message.until(has_picture)
        assert {each.partition(":")[0] for each in final.custom_ids} == {"made"}
        assert await operator.job_is(message, "delivered")
        assert sum(has_picture(version) for version in message.history) == 1


@pytest.mark.scenario(
    "process",
    "The bot is stopped (SIGTERM), and the picture takes longer than SHUTDOWN_GRACE_S",
    outcome="A sentence says that it goes on by itself. The picture arrives after the next start.",
)
async def test_sigterm_puts_back_a_job_that_takes_longer_than_the_grace(
    discord: FakeDiscord, operator: Operator
) -> None:
    bot = await operator.running(SHUTDOWN_GRACE_S="0.5")
    await picture(discord)
    workers = bot.workers()
    with bot.paused():
        message = await discord.slash("generate", prompt="a red circle")
        await message.reads("Starting")
        bot.process.send_signal(signal.SIGTERM)
        await message.reads(RESTARTING)
    assert await bot.exit_code(15) == 0
    assert await operator.job_is(message, "queued")
    assert await gone(workers, seconds=1)
    await operator.running()
    await message.until(has_picture)
    assert await operator.job_is(message, "delivered")


@pytest.mark.parametrize(
    ("url", "token", "code", "sentence"),
    [
        (None, "wrong", EX_CONFIG, "DISCORD_TOKEN is refused by Discord."),
        ("http://127.0.0.1:9", "right", 1, "Discord cannot be reached: "),
    ],
    ids=["token refused", "nobody there"],
)
@pytest.mark.scenario(
    "REST",
    "The token is wrong, or Discord cannot be reached, when the bot starts",
    outcome="The bot ends with one sentence for its operator.",
)
async def test_a_start_that_fails_ends_in_one_sentence(
    url: str | None, token: str, code: int, sentence: str, operator: Operator
) -> None:
    bot = await operator.start(url, DISCORD_TOKEN=token, LOG_LEVEL="ERROR")
    assert await bot.exit_code(20) == code
    assert bot.log.startswith(sentence)
    assert bot.log.count("\n") == 1
    assert await gone(bot.workers(), seconds=1)
