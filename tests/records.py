"""Jobs as the tests of the archive want them: of somebody, somewhere, at some time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from bot.inference.types import Request
from bot.jobs import Jobs
from bot.records import Job, Origin
from bot.storage import Storage
from tests.doubles import result_for

ALICE, BOB, CAROL = 1_000_000_000_000_000_001, 1_000_000_000_000_000_002, 1_000_000_000_000_000_003
HOME, AWAY = 2_000_000_000_000_000_001, 2_000_000_000_000_000_002
PICTURES, OTHER, HIDDEN = 3_000_000_000_000_001, 3_000_000_000_000_002, 3_000_000_000_000_003

REQUEST = Request(
    tool="schnell",
    prompt="a cat",
    height=128,
    width=128,
    num_inference_steps=4,
    guidance_scale=None,
    seed=7,
)
UNUSUAL = Request(
    tool="dev",
    prompt="a «cat» 🐈",
    height=128,
    width=96,
    num_inference_steps=28,
    guidance_scale=3.5,
    seed=2**32 - 1,
    count=2,
)
"""Of a prompt and a seed that are easily spoiled on the way."""

ORIGIN = Origin(
    user_id=ALICE, guild_id=HOME, channel_id=PICTURES, message_id=3, application_id=4, token="token"
)


async def queued(storage: Storage, *, request: Request = REQUEST, **origin: Any) -> Job:
    """Return a job that waits; it is Alice's, in a channel of her server, if not said otherwise."""
    return await storage.add_job(request, replace(ORIGIN, **origin))


async def made(storage: Storage, *, request: Request = REQUEST, **origin: Any) -> Job:
    """Return a job whose pictures were delivered."""
    job = await queued(storage, request=request, **origin)
    await storage.start_job(job.id)
    await storage.finish_job(job.id, result_for(request))
    await storage.mark_delivered(job.id)
    return await storage.job(job.id)


async def at(storage: Storage, job: Job, ended_at: float) -> None:
    """Let a job have ended at a time."""
    await storage._database.change("UPDATE jobs SET finished_at = ? WHERE id = ?", ended_at, job.id)


async def has_begun(jobs: Jobs) -> None:
    """Wait until the queue would not take a new row for one that an earlier process left."""
    while not jobs._is_begun:
        await asyncio.sleep(0.01)
