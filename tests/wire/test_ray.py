"""The bot with its replicas on a Ray of its own: it is for this machine alone, and ends with it."""

from __future__ import annotations

import signal

import psutil
import pytest
import pytest_asyncio

from .bot_process import BotProcess, gone
from .conftest import Operator
from .fake_discord import FakeDiscord
from .rest import TOKEN
from .test_run import picture, shows_work

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def bot(operator: Operator) -> BotProcess:
    return await operator.running(EXECUTOR="ray", RAY_MAX_REPLICAS="1", SHUTDOWN_GRACE_S="1")


def processes(bot: BotProcess) -> set[psutil.Process]:
    return set(psutil.Process(bot.process.pid).children(recursive=True))


async def test_a_replica_makes_pictures(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    message = await picture(discord)
    assert await operator.job_is(message, "delivered")
    assert any("ray::ServeReplica" in " ".join(each.cmdline()) for each in processes(bot))


async def test_its_ray_listens_on_this_machine_alone_and_has_no_token(bot: BotProcess) -> None:
    for process in processes(bot):
        assert TOKEN not in process.environ().values()
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip in {"127.0.0.1", "::ffff:127.0.0.1"}, process.cmdline()


async def test_a_stop_puts_the_running_job_back_and_ends_ray(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    children = processes(bot)
    message = await discord.slash("generate", prompt="a", model="dev", steps=50, count=4)
    await message.until(shows_work)
    bot.process.send_signal(signal.SIGTERM)
    assert await bot.exit_code(30) == 0
    assert await gone(children, 30)
    assert await operator.job_is(message, "queued")
