"""Whether a picture has come to its member, and only once."""

from __future__ import annotations

from typing import Any

from .conftest import Operator
from .fake_discord import FakeDiscord
from .messages import Message, Version

PROMPT = "a red circle"


def pictures_of(discord: FakeDiscord, job_id: int) -> list[Version]:
    """Return what has shown a job's picture, in whatever message."""
    return [
        version
        for message in discord.rest.messages.values()
        for version in message.history
        if any(f"-{job_id}-1." in name for name in version.files)
    ]


async def arrives_once(
    discord: FakeDiscord, operator: Operator, message: Message, seconds: float = 30.0
) -> Version:
    """Wait until the job of a message is delivered, and see that its picture came once."""
    assert await operator.job_is(message, "delivered", seconds)
    (shown,) = pictures_of(discord, operator.job_id(message))
    return shown


async def comes_once(discord: FakeDiscord, operator: Operator, **options: Any) -> Message:
    """Ask for a picture, and see that it comes in the message that acknowledges that, once."""
    message = await discord.slash("generate", prompt=PROMPT, **options)
    assert await arrives_once(discord, operator, message) in message.history
    return message
