"""Requests that Discord refuses, delays or loses, and files that do not come as they should."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable

import pytest
import pytest_asyncio

from tests.cogs.messages import mask, photo

from .bot_process import BotProcess
from .conftest import Operator
from .fake_discord import FakeDiscord
from .messages import DIRECT_CHANNEL_ID
from .pictures import PROMPT, arrives_once, comes_once
from .rest import Call
from .test_faults import CALLBACK, CHANNEL, MESSAGES
from .test_fill import BUTTONS, CDN, fill, verbs
from .test_run import PICTURE, WEBHOOK, has_picture

pytestmark = pytest.mark.asyncio(loop_scope="module")

RETRY_AFTER = 0.7
HASTE = "bot.cogs._attachments.READ_SECONDS=1.5"


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _hurried(operator: Operator) -> None:
    """Let the bot of these tests lose its patience with slow files soon."""
    await operator.running(HASTE=HASTE)


def calls_since(discord: FakeDiscord, moment: float) -> list[Call]:
    return [call for call in discord.rest.calls if call.at > moment]


async def first_call(discord: FakeDiscord, fits: Callable[[Call], object]) -> Call:
    """Wait for a request that fits, among those from now on."""
    begun = len(discord.rest.calls)
    async with asyncio.timeout(30):
        while True:
            for call in discord.rest.calls[begun:]:
                if call.status and fits(call):
                    return call
            await asyncio.sleep(0.02)


def carries_a_picture(call: Call) -> bool:
    return any(re.fullmatch(PICTURE, name) for name in call.files)


@pytest.mark.scenario(
    "REST",
    "Discord asks for a pause (429 with `retry_after`) when the picture is delivered",
    outcome="The picture arrives after that pause.",
)
async def test_a_limit_of_a_route_is_waited_for(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    discord.limit("PATCH", WEBHOOK, retry_after=RETRY_AFTER, file=PICTURE)
    refusal = asyncio.create_task(first_call(discord, lambda call: call.status == 429))
    await asyncio.sleep(0)
    await comes_once(discord, operator)
    limited = await refusal
    (again,) = [call for call in calls_since(discord, limited.at) if carries_a_picture(call)]
    assert again.at - limited.at >= RETRY_AFTER


@pytest.mark.scenario(
    "REST",
    "Discord asks for a pause of everything that the bot does (a global 429)",
    outcome="Nothing is sent meanwhile, and the picture arrives after that pause.",
)
async def test_a_global_limit_holds_up_all_routes(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    discord.fail("PATCH", WEBHOOK, status=401, code=50027, file=PICTURE, times=math.inf)
    discord.limit("PATCH", CHANNEL, retry_after=RETRY_AFTER, is_global=True)
    refusal = asyncio.create_task(first_call(discord, lambda call: call.status == 429))
    messages = [await discord.slash("generate", prompt=PROMPT, seed=seed) for seed in (1, 2)]
    for message in messages:
        await arrives_once(discord, operator, message)
    limited = await refusal
    later = [call for call in calls_since(discord, limited.at) if re.fullmatch(CHANNEL, call.path)]
    assert len(later) == 2
    assert all(call.at - limited.at >= RETRY_AFTER for call in later)


@pytest.mark.scenario(
    "REST",
    "Discord answers 500, 502 or 504 when the picture is delivered",
    outcome="The picture arrives a second later.",
)
async def test_an_error_of_the_server_is_tried_again(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    for status in (500, 502, 504):
        discord.fail("PATCH", WEBHOOK, status=status, file=PICTURE)
    messages = [await discord.slash("generate", prompt=PROMPT, seed=seed) for seed in (1, 2, 3)]
    for message in messages:
        await arrives_once(discord, operator, message)


@pytest.mark.scenario(
    "REST",
    "Discord answers 503 to the first word of the bot on a command",
    outcome="The command is answered a second later, still in time, and the picture arrives.",
)
async def test_an_acknowledgement_is_tried_again_in_time(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    discord.fail("POST", CALLBACK, status=503)
    message = await comes_once(discord, operator)
    assert message.acknowledged_after < 3


@pytest.mark.scenario(
    "REST",
    "The connection is reset in the middle of the upload of a picture",
    outcome="The picture is uploaded again and arrives.",
)
async def test_an_upload_that_breaks_off_is_begun_again(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    broken = len(discord.rest.broken_off)
    discord.break_off("PATCH", WEBHOOK)
    await comes_once(discord, operator)
    assert len(discord.rest.broken_off) == broken + 1


@pytest.mark.scenario(
    "REST",
    "Discord finds the picture too large for the answer to a command (413)",
    outcome="The picture arrives by an edit of the bot's own, which may be larger.",
)
async def test_a_picture_too_large_for_the_interaction_goes_another_way(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    discord.fail("PATCH", WEBHOOK, status=413, code=40005, file=PICTURE)
    message = await comes_once(discord, operator)
    assert message.now.route.startswith("PATCH /channels/")


@pytest.mark.scenario(
    "REST",
    "The bot's first word on a command comes too late for Discord (10062)",
    outcome="Discord says that the application did not respond. Nothing is queued, and the same"
    " command is taken when it is given again.",
)
async def test_a_command_that_is_acknowledged_too_late_leaves_nothing_behind(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    (before,) = operator.rows("SELECT count(*) FROM jobs")
    discord.fail("POST", CALLBACK, status=404, code=10062, times=2)
    refused = asyncio.create_task(first_call(discord, lambda call: call.status == 404))
    command = asyncio.create_task(discord.slash("generate", prompt=PROMPT))
    await refused
    discord.heal()
    await comes_once(discord, operator)
    command.cancel()
    (after,) = operator.rows("SELECT count(*) FROM jobs")
    assert after[0] == before[0] + 1


@pytest.mark.scenario(
    "REST",
    "The bot has lost its access to the channel (50001) and may not post there (50013), and the"
    " fifteen minutes of the command are over (50027)",
    outcome="The picture arrives as a direct message.",
)
async def test_a_picture_that_its_channel_does_not_take_goes_to_its_member(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    discord.fail("PATCH", WEBHOOK, status=401, code=50027, file=PICTURE, times=math.inf)
    discord.fail("PATCH", CHANNEL, status=403, code=50001, times=math.inf)
    discord.fail("POST", rf"(?!.*{DIRECT_CHANNEL_ID}){MESSAGES}", status=403, code=50013)
    message = await discord.slash("generate", prompt=PROMPT)
    shown = await arrives_once(discord, operator, message)
    assert shown.route == f"POST /channels/{DIRECT_CHANNEL_ID}/messages"
    assert not has_picture(message.now)


@pytest.mark.scenario(
    "CDN",
    "A file that a member attached comes slowly from Discord",
    outcome="The bot waits for it, and goes on as usual.",
)
async def test_a_slow_file_is_waited_for(bot: BotProcess, discord: FakeDiscord) -> None:
    discord.delay("GET", CDN, seconds=0.8, times=2)
    await fill(discord)


@pytest.mark.scenario(
    "CDN",
    "A file that a member attached takes more than half a minute to come",
    outcome="A sentence says so and asks to attach it once more.",
)
async def test_a_file_that_takes_too_long_is_one_sentence(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    discord.delay("GET", CDN, seconds=20, times=math.inf)
    start = time.monotonic()
    message = await discord.slash("fill", image=photo()[1], prompt="a star", area="left")
    final = await message.reads("could not be read from Discord: it took more than 2 seconds")
    assert time.monotonic() - start < 10
    assert final.custom_ids == []


@pytest.mark.scenario(
    "CDN",
    "A file that a member attached breaks off half-way, once",
    outcome="It is read again, and all goes on as usual.",
)
async def test_a_file_that_breaks_off_is_read_again(bot: BotProcess, discord: FakeDiscord) -> None:
    discord.shorten(CDN)
    await fill(discord)


@pytest.mark.scenario(
    "CDN",
    "A file that a member attached breaks off half-way, again and again",
    outcome="A sentence says so and asks to attach it once more.",
)
async def test_a_file_that_never_comes_whole_is_one_sentence(
    bot: BotProcess, discord: FakeDiscord
) -> None:
    discord.shorten(CDN, times=math.inf)
    message = await discord.slash("fill", image=photo()[1], mask=mask()[1], prompt="a star")
    final = await message.reads("could not be read from Discord: it came incomplete")
    assert verbs(final) != BUTTONS
    assert final.custom_ids == []
