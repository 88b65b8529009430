"""A message of the bot as text: what a person would see of it, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import discord

MARGIN = "  "


def describe(message: discord.Message) -> str:
    """The author, texts, controls and attachments of a message as it stands."""
    author = message.author.display_name
    if message.flags.loading:
        author = f"{author} is thinking ..."
    if message.flags.ephemeral:
        author = f"{author} (only you can see this)"
    return "\n".join((author, *(f"{MARGIN}{line}" for line in _lines(message))))


def _lines(message: discord.Message) -> Iterator[str]:
    yield from message.content.splitlines()
    for embed in message.embeds:
        yield from _embed_lines(embed)
    yield from _component_lines(message.components)
    for attachment in message.attachments:
        yield f"attachment: {attachment.filename} ({attachment.size:,} bytes)"


def _embed_lines(embed: discord.Embed) -> Iterator[str]:
    fields = (f"{field.name}: {field.value}" for field in embed.fields)
    for text in (embed.author.name, embed.title, embed.description, *fields, embed.footer.text):
        yield from (text or "").splitlines()


def _component_lines(components: Iterable[discord.Component]) -> Iterator[str]:
    for component in components:
        match component:
            case discord.ActionRow(children=controls):
                yield " ".join(map(_control, controls))
            case discord.Container(children=parts) | discord.SectionComponent(children=parts):
                yield from _component_lines(parts)
            case discord.TextDisplay(content=content):
                yield from content.splitlines()
            case discord.MediaGalleryComponent(items=items):
                for item in items:
                    yield f"picture: {item.description}"


def _control(control: discord.Component) -> str:
    match control:
        case discord.Button(label=label, emoji=emoji, disabled=disabled):
            text = " ".join(str(part) for part in (emoji, label) if part)
        case discord.SelectMenu(placeholder=placeholder, disabled=disabled):
            text = f"{placeholder or 'Choose'} ..."
        case _:
            return f"[{control.type.name}]"
    return f"[{text}, disabled]" if disabled else f"[{text}]"
