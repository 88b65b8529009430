"""What goes wrong between the bot and Discord, and what the member gets all the same."""

from __future__ import annotations

import math
import re
import signal
import time

import pytest

from .bot_process import BotProcess
from .conftest import Operator
from .fake_discord import FakeDiscord
from .gateway import AUTHENTICATION_FAILED
from .test_run import PICTURE, WEBHOOK, has_picture, picture

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLBACK, CHANNEL = r"/interactions/.*", r"/channels/.*"
MESSAGES = r"/channels/\d+/messages"


@pytest.mark.parametrize("carried_out", [True, False], ids=["answer lost", "request lost"])
@pytest.mark.scenario(
    "REST",
    "The connection is reset while a command is acknowledged, whether Discord had heard it or not",
    outcome="The picture arrives.",
)
async def test_a_command_survives_a_reset_while_it_is_acknowledged(
    bot: BotProcess, discord: FakeDiscord, carried_out: bool
) -> None:
    discord.cut("POST", CALLBACK, carried_out=carried_out)
    await picture(discord)


@pytest.mark.parametrize("carried_out", [True, False], ids=["answer lost", "request lost"])
@pytest.mark.scenario(
    "REST",
    "The connection is reset while the picture is delivered, whether Discord had it or not",
    outcome="The picture arrives.",
)
async def test_a_picture_survives_a_reset_while_it_is_delivered(
    bot: BotProcess, discord: FakeDiscord, operator: Operator, carried_out: bool
) -> None:
    discord.cut("PATCH", WEBHOOK, file=PICTURE, carried_out=carried_out)
    message = await picture(discord)
    assert await operator.job_is(message, "delivered")


@pytest.mark.scenario(
    "REST",
    "The proxy before Discord refuses the picture (a 429 without `retry_after`)",
    outcome="The picture arrives a little later.",
)
async def test_a_picture_survives_a_429_of_the_proxy_before_discord(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    discord.fail("PATCH", WEBHOOK, status=429, file=PICTURE)
    await picture(discord)


@pytest.mark.scenario(
    "REST",
    "The fifteen minutes are over, and Discord answers 503 to the bot's own edit",
    outcome="The picture arrives by a second edit of the bot's own.",
)
async def test_a_picture_survives_a_503_after_the_interaction_has_expired(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    discord.fail("PATCH", WEBHOOK, status=401, code=50027, file=PICTURE, times=math.inf)
    discord.fail("PATCH", CHANNEL, status=503)
    message = await picture(discord)
    assert message.now.route.startswith("PATCH /channels/")


@pytest.mark.parametrize("readable", [True, False], ids=["by its footer", "by its nonce"])
@pytest.mark.scenario(
    "REST",
    "The message of the command is deleted (10008), and the answer to the new message is lost",
    outcome="The picture arrives in one new message that mentions the member.",
)
async def test_a_picture_posted_anew_is_known_when_the_answer_to_it_is_lost(
    bot: BotProcess, discord: FakeDiscord, operator: Operator, readable: bool
) -> None:
    for path in (WEBHOOK, CHANNEL):
        discord.fail("PATCH", path, status=404, code=10008, file=PICTURE, times=math.inf)
    discord.cut("POST", MESSAGES, carried_out=True)
    if not readable:
        discord.fail("GET", MESSAGES, status=403, code=50001, times=math.inf)
    calls = len(discord.rest.calls)
    before = set(discord.rest.messages)
    message = await discord.slash("generate", prompt="a red circle")
    assert await operator.job_is(message, "delivered", seconds=60)
    new = [discord.rest.messages[each] for each in set(discord.rest.messages) - before]
    (posted,) = [each for each in new if each is not message]
    assert has_picture(posted.now)
    assert not has_picture(message.now)
    tried = [each for each in discord.rest.calls[calls:] if re.fullmatch(MESSAGES, each.path)]
    wanted = ["POST", "GET"] if readable else ["POST", "GET", "POST"]
    assert [each.method for each in tried] == wanted


@pytest.mark.scenario(
    "REST",
    "Discord takes nothing for a while (503 to everything)",
    outcome="The pictures are made meanwhile, and arrive when Discord is back.",
)
async def test_an_outage_of_discord_does_not_hold_up_the_work(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    for method, path in (("PATCH", WEBHOOK), ("PATCH", CHANNEL), ("POST", MESSAGES)):
        discord.fail(method, path, status=503, times=math.inf)
    messages = [await discord.slash("generate", prompt="a red circle", seed=n) for n in (1, 2, 3)]
    for message in messages:
        assert await operator.job_is(message, "made", seconds=30)
    assert not any(has_picture(message.now) for message in messages)
    discord.heal()
    for message in messages:
        await message.until(has_picture)
        assert await operator.job_is(message, "delivered")


@pytest.mark.scenario(
    "REST",
    "Discord finds the picture too large wherever it is sent (413)",
    outcome="A sentence says that Discord did not take it.",
)
async def test_a_picture_that_discord_refuses_for_good_ends_in_a_sentence(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    for path in (WEBHOOK, CHANNEL):
        discord.fail("PATCH", path, status=413, code=40005, file=PICTURE)
    message = await discord.slash("generate", prompt="a red circle")
    final = await message.reads("Discord did not take it")
    assert final.custom_ids == []


@pytest.mark.scenario(
    "process",
    "The bot is stopped (SIGTERM) while Discord takes nothing",
    outcome="It ends at once all the same, and the picture arrives after the next start.",
)
async def test_a_stop_does_not_wait_for_discord_and_the_next_start_delivers(
    discord: FakeDiscord, operator: Operator
) -> None:
    bot = await operator.running(SHUTDOWN_GRACE_S="1")
    discord.fail("PATCH", WEBHOOK, status=503, file=PICTURE, times=math.inf)
    message = await discord.slash("generate", prompt="a red circle")
    assert await operator.job_is(message, "made", seconds=60)
    bot.process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    assert await bot.exit_code(30) == 0
    assert time.monotonic() - start < 10
    discord.heal()
    await operator.running()
    await message.until(has_picture)
    assert await operator.job_is(message, "delivered")


@pytest.mark.scenario(
    "gateway",
    "The token is revoked while the bot runs (4004)",
    outcome="The bot ends with one sentence for its operator. Pictures that were asked for arrive"
    " when it is started with a good token.",
)
async def test_a_token_that_is_revoked_ends_the_bot_in_one_sentence_and_loses_no_job(
    discord: FakeDiscord, operator: Operator
) -> None:
    bot = await operator.running(LOG_LEVEL="ERROR")
    with bot.paused():
        running = await discord.slash("generate", prompt="a red circle")
        await running.reads("Starting")
        waiting = await discord.slash("generate", prompt="a blue square")
        await waiting.reads("1 job before")
        await discord.gateway.drop(AUTHENTICATION_FAILED)
    assert await bot.exit_code(30) == 1
    assert "4004" in bot.log
    assert bot.log.count("\n") == 1
    await operator.running()
    for message in (running, waiting):
        await message.until(has_picture)
        assert await operator.job_is(message, "delivered")
