"""A rush of commands: each is acknowledged and recorded, and Discord is not asked for too much."""

from __future__ import annotations

import statistics

import pytest

from .conftest import Operator
from .crowd import GUILD_IDS, MEMBERS, SERVERS, at_once, refused, steadily
from .fake_discord import FakeDiscord

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

COMMANDS = 1000
A_SECOND, SECONDS, SECONDS_IF_LONG = 30, 4, 120


async def test_no_command_of_a_rush_is_lost_and_discord_has_nothing_to_refuse(
    discord: FakeDiscord, operator: Operator, request: pytest.FixtureRequest
) -> None:
    discord.rest.guild_ids = GUILD_IDS
    discord.patience = 60.0  # how long it takes is for a benchmark to say
    await operator.running(LOG_LEVEL="WARNING")
    seconds = SECONDS_IF_LONG if request.config.getoption("--long") else SECONDS
    messages = await at_once(discord, COMMANDS) + await steadily(discord, A_SECOND, seconds)
    assert None not in messages
    for message in filter(None, messages):
        await message.until(lambda version: version.text, 60)
    refusals = [each for each in messages if each and "waiting already" in each.now.text]
    query = "SELECT count(*), count(DISTINCT user_id), count(DISTINCT guild_id) FROM jobs"
    assert operator.rows(query) == [(len(messages) - len(refusals), MEMBERS, SERVERS)]
    assert refused(discord.rest.calls) == 0
    # the acknowledgement, the place in the queue, and a few moves of it
    assert statistics.mean(len(each.history) for each in messages if each) < 5
