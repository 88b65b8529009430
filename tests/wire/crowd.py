"""Many members of many servers, and whether Discord would have put up with what the bot sends."""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator

from .fake_discord import FakeDiscord
from .messages import GUILD_ID, Message
from .rest import Call

SERVERS, MEMBERS = 50, 200
GUILD_IDS = [str(int(GUILD_ID) + (n << 22)) for n in range(SERVERS)]
"""The bits from 22 on say which shard serves a server."""

GLOBAL = (50, 1.0)
"""Requests in so many seconds that Discord takes of a bot, but for those about interactions."""
ROUTE = (5, 2.0)
"""The strictest that it was seen to say of one message's or one channel's route."""


async def ask(discord: FakeDiscord, number: int) -> Message | None:
    """Give a command as one of the members; None where it is not acknowledged in time."""
    try:
        return await discord.slash(
            "generate",
            user_id=str(1000 + number % MEMBERS),
            guild_id=GUILD_IDS[number % SERVERS],
            prompt="a star",
            seed=number,
        )
    except TimeoutError:
        return None


async def at_once(discord: FakeDiscord, count: int) -> list[Message | None]:
    """Give so many commands in one instant."""
    return await asyncio.gather(*(ask(discord, number) for number in range(count)))


async def steadily(discord: FakeDiscord, a_second: int, seconds: float) -> list[Message | None]:
    """Give so many commands a second, evenly."""
    tasks, start = [], time.monotonic()
    for number in range(int(a_second * seconds)):
        tasks.append(asyncio.create_task(ask(discord, number)))
        await asyncio.sleep(max(0.0, start + (number + 1) / a_second - time.monotonic()))
    return await asyncio.gather(*tasks)


def refused(calls: Iterable[Call]) -> int:
    """Return to how many requests Discord would have answered 429."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for call in calls:
        for route in _limits(call):
            times[route].append(call.at)
    return sum(_beyond(each, GLOBAL if route == "all" else ROUTE) for route, each in times.items())


def _limits(call: Call) -> Iterator[str]:
    """Yield what a request counts for: its route, and where it has the bot's token, all of them."""
    yield f"{call.method} {re.sub(r'/messages/.*', '/messages', call.path)}"
    if not call.path.startswith(("/webhooks/", "/interactions/")):
        yield "all"


def _beyond(times: list[float], limit: tuple[int, float]) -> int:
    """Return how many of these times come when there were as many as allowed just before."""
    most, seconds = limit
    taken: list[float] = []
    for at in sorted(times):
        if len(taken) - bisect_right(taken, at - seconds) < most:
            taken.append(at)
    return len(times) - len(taken)
