"""What a member sees of a message, and what a member attaches."""

from __future__ import annotations

import io
import re
from typing import Any

import discord
import simcord
from PIL import Image, ImageDraw

from tests.conftest import Scene

Attached = tuple[str, bytes]


def fields(message: simcord.ResponseMessage) -> dict[str, str]:
    """Return what the message tells, by name: in an embed's fields, or in lines of a layout."""
    if message.embeds:
        return {field.name: field.value for field in message.embeds[0].fields}  # type: ignore[misc]
    _, told, _ = texts(message)
    # a name begins with a letter, unlike what is bold in a value
    parts = re.split(r"(?: · |\n|^)\*\*([^\W\d][^*]*)\*\* ", told)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def title(message: simcord.ResponseMessage) -> str:
    """Return the title of the message's embed, or of its layout."""
    if message.embeds:
        return message.embeds[0].title or ""
    return texts(message)[0].partition("\n")[0].removeprefix("### ")


def description(message: simcord.ResponseMessage) -> str:
    """Return the text of the message's embed, or that under the title of its layout."""
    if message.embeds:
        return message.embeds[0].description or ""
    return texts(message)[0].partition("\n")[2]


def gallery(message: simcord.ResponseMessage | discord.Message) -> list[dict[str, Any]]:
    """Return the items of the message's gallery, in their order."""
    return [each for part in _parts(message) for each in part.get("items", [])]


def texts(message: simcord.ResponseMessage | discord.Message) -> list[str]:
    """Return the texts of the message's layout, from top to bottom."""
    return [part["content"] for part in _parts(message) if "content" in part]


def _parts(message: simcord.ResponseMessage | discord.Message) -> list[dict[str, Any]]:
    components: list[Any] = list(message.components)
    raw = [each if isinstance(each, dict) else each.to_dict() for each in components]
    return [part for each in raw for part in (each, *each.get("components", []))]


def button_labels(message: simcord.ResponseMessage) -> list[str]:
    """Return what is written on the buttons of a message, row by row."""
    return [part["label"] for part in _parts(message) if "label" in part]


def refusal(scene: Scene, result: simcord.InteractionResult) -> str:
    """Return the one sentence, seen by its member alone, that answers a command."""
    assert result.response is not None
    assert result.response.ephemeral
    assert not result.response.embeds
    assert scene.env.errors  # simcord wants errors to be looked at, handled ones too
    return result.response.content


def answer(result: simcord.InteractionResult) -> str:
    """Return the one sentence, seen by its member alone, that answers a press."""
    assert result.response is not None
    assert result.response.ephemeral
    assert not result.response.embeds
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
