"""The files that members attach: refused at a glance, or read while Discord's links still work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import aiohttp
import discord

from bot.errors import AttachmentUnreadable, RequestError
from bot.i18n import N_, _, number
from bot.inference.images import MAX_BYTES
from bot.units import format_bytes

_log = logging.getLogger(__name__)

READ_SECONDS = 30.0
"""How long one file may take, both attempts together: 25 MB at about 7 Mbit/s."""

ADVICE = N_("Attach a PNG, JPEG, WebP, GIF, AVIF or BMP image.")


def attached(**options: discord.Attachment | None) -> dict[str, discord.Attachment]:
    """Return the options that were given; raise RequestError for what cannot be an image.

    This goes by what Discord says of them: nothing is read yet.
    """
    given = {name: each for name, each in options.items() if each is not None}
    for name, attachment in given.items():
        kind = (attachment.content_type or "").partition(";")[0]
        # by the ending of its name; what Discord has no name for may be an image all the same
        if kind and not kind.startswith("image/") and kind != "application/octet-stream":
            problem = _("`{name}` is no image, but {kind}.", name=name, kind=kind)
            raise RequestError(problem, _(ADVICE))
        if attachment.size > MAX_BYTES:
            raise RequestError(
                _(
                    "`{name}` has {size}, but at most {most} are read.",
                    name=name,
                    size=format_bytes(attachment.size),
                    most=format_bytes(MAX_BYTES),
                ),
                _("Make it smaller and attach it again."),
            )
    return given


def pictures_of(message: discord.Message) -> list[discord.Attachment]:
    """Return the files of a message, or of one that it forwards, that Discord takes for images."""
    forwarded = (file for each in message.message_snapshots for file in each.attachments)
    files = (*message.attachments, *forwarded)
    return [each for each in files if (each.content_type or "").startswith("image/")]


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
        reason = _("it took more than {seconds} seconds", seconds=number(READ_SECONDS, 0))
    except discord.NotFound:
        reason = _("it is not there any more")
    except discord.HTTPException as error:
        reason = _("Discord answers {status}", status=error.status)
    except aiohttp.ClientPayloadError:
        reason = _("it came incomplete")
    except (aiohttp.ClientError, OSError):
        reason = _("the connection broke off")
    raise AttachmentUnreadable(_printable(attachment.filename), reason)


def _printable(filename: str) -> str:
    return filename.replace("`", "'")[:100]
