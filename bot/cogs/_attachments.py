"""The files that members attach: refused at a glance, or read while Discord's links still work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import aiohttp
import discord

from bot.errors import AttachmentUnreadable, RequestError
from bot.inference.images import MAX_BYTES
from bot.units import format_bytes

_log = logging.getLogger(__name__)

READ_SECONDS = 30.0
"""How long one file may take, both attempts together: 25 MB at about 7 Mbit/s."""

ADVICE = "Attach a PNG, JPEG, WebP, GIF or AVIF image."


def attached(**options: discord.Attachment | None) -> dict[str, discord.Attachment]:
    """Return the options that were given; raise RequestError for what cannot be an image.

    This goes by what Discord says of them: nothing is read yet.
    """
    given = {name: each for name, each in options.items() if each is not None}
    for name, attachment in given.items():
        kind = (attachment.content_type or "").partition(";")[0]
        # by the ending of its name; what Discord has no name for may be an image all the same
        if kind and not kind.startswith("image/") and kind != "application/octet-stream":
            raise RequestError(f"`{name}` is no image, but {kind}.", ADVICE)
        if attachment.size > MAX_BYTES:
            raise RequestError(
                f"`{name}` has {format_bytes(attachment.size)}, but at most"
                f" {format_bytes(MAX_BYTES)} are read.",
                "Make it smaller and attach it again.",
            )
    return given


async def read(attachments: Mapping[str, discord.Attachment]) -> dict[str, bytes]:
    """Return the content of each, all read at the same time; raise AttachmentUnreadable."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {
                name: group.create_task(_read(attachment))
                for name, attachment in attachments.items()
            }
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None  # one is enough: the first has ended the others
    return {name: task.result() for name, task in tasks.items()}


async def _read(attachment: discord.Attachment) -> bytes:
    try:
        async with asyncio.timeout(READ_SECONDS):
            try:
                return await attachment.read()
            except (aiohttp.ClientError, OSError) as error:
                # once more: discord.py does not do so for what it reads
                _log.info("attachment %d: %r, trying again", attachment.id, error)
                return await attachment.read()
    except TimeoutError:
        reason = f"it took more than {READ_SECONDS:.0f} seconds"
    except discord.NotFound:
        reason = "it is not there any more"
    except discord.HTTPException as error:
        reason = f"Discord answers {error.status}"
    except aiohttp.ClientPayloadError:
        reason = "it came incomplete"
    except (aiohttp.ClientError, OSError):
        reason = "the connection broke off"
    raise AttachmentUnreadable(_printable(attachment.filename), reason)


def _printable(filename: str) -> str:
    return filename.replace("`", "'")[:100]
