"""Whether the member of a job is still in its server."""

from __future__ import annotations

import discord

from bot.ladder import FAULTS
from bot.records import Job

UNKNOWN_MEMBER = 10007
"""Discord's code for somebody who is not in a server."""


async def has_left(client: discord.Client, job: Job) -> bool:
    """Tell whether a job's member has left its server; what Discord does not say counts as no.

    Asked job by job: to be told of everybody who leaves would take a privileged intent.
    """
    guild_id = job.origin.guild_id
    guild = None if guild_id is None else client.get_guild(guild_id)
    if guild is None:
        return False
    try:
        await guild.fetch_member(job.origin.user_id)
    except FAULTS as error:
        return isinstance(error, discord.HTTPException) and error.code == UNKNOWN_MEMBER
    return False
