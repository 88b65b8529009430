"""A Ray cluster that is not there, or not fit, and one that is left without its bot."""

from __future__ import annotations

import asyncio
import sys

import psutil
import pytest

from bot.errors import ConfigurationError, RayUnavailable
from bot.inference.protocol import WorkerOptions
from bot.inference.worker import build_engine
from tests.wire.bot_process import gone

ALONE = """
import time
from bot.inference.cluster import Cluster
Cluster(None).join()
print("started", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto"])
def test_an_address_where_no_ray_answers_is_named(address: str) -> None:
    from bot.inference.cluster import Cluster

    with pytest.raises(RayUnavailable, match=f"^No Ray answers at `{address}`: "):
        Cluster(address).join()


async def test_without_a_gpu_the_device_is_named() -> None:
    from bot.inference.cluster import Cluster, Scaling

    cluster = Cluster(None)
    await asyncio.to_thread(cluster.join)
    try:
        with pytest.raises(ConfigurationError, match="DEVICE is auto, but Ray finds no GPU here"):
            cluster.deploy(WorkerOptions(family="tiny"), Scaling(), None, build_engine)
    finally:
        cluster.leave()


async def test_a_ray_of_its_own_ends_with_a_bot_that_was_killed() -> None:
    bot = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ALONE, stdout=asyncio.subprocess.PIPE
    )
    assert bot.stdout is not None
    assert await bot.stdout.readline() == b"started\n"
    processes = psutil.Process(bot.pid).children(recursive=True)
    # what reports on a node goes on for a minute, in case that the rest comes back
    held = {each for each in processes if "Agent" not in " ".join(each.cmdline())}
    assert any("raylet" in each.name() for each in held)
    bot.kill()
    await bot.wait()
    assert await gone(held, 20)
