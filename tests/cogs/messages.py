"""What a member sees of a message, and what a member attaches."""

from __future__ import annotations

import io

import discord
import simcord
from PIL import Image, ImageDraw

from tests.conftest import Scene

Attached = tuple[str, bytes]


def fields(message: simcord.ResponseMessage) -> dict[str, str]:
    """Return the fields of the message's embed by name."""
    return {field.name: field.value for field in message.embeds[0].fields}  # type: ignore[misc]


def description(message: simcord.ResponseMessage) -> str:
    """Return the text of the message's embed."""
    return message.embeds[0].description or ""


def button_labels(message: simcord.ResponseMessage) -> list[str]:
    """Return what is written on the buttons of a message, row by row."""
    return [c["label"] for row in message.components for c in row["components"]]


def refusal(scene: Scene, result: simcord.InteractionResult) -> str:
    """Return the one sentence, seen by its member alone, that answers a command."""
    assert result.response is not None
    assert result.response.ephemeral
    assert not result.response.embeds
    assert scene.env.errors  # simcord wants errors to be looked at, handled ones too
    return result.response.content


async def restrict(scene: Scene, channel: simcord.ChannelHandle) -> None:
    """Make a channel age-restricted for the bot: simcord has no such channels."""
    await scene.env.settle()
    known = scene.app.client.get_channel(channel.id)
    assert isinstance(known, discord.TextChannel)
    known.nsfw = True


def photo(size: tuple[int, int] = (128, 128), colour: str = "blue") -> Attached:
    """Return a scene as a member would attach it: a red circle in the middle, on a colour."""
    image = Image.new("RGB", size, colour)
    width, height = size
    box = (width // 4, height // 4, width * 3 // 4, height * 3 // 4)
    ImageDraw.Draw(image).ellipse(box, fill="red")
    return "photo.png", png(image)


def mask(size: tuple[int, int] = (128, 128), *, white: bool = True) -> Attached:
    """Return a mask whose left half is white, or one that is black all over."""
    image = Image.new("L", size)
    if white:
        image.paste(255, (0, 0, size[0] // 2, size[1]))
    return "mask.png", png(image)


def png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
