"""How a message is drawn: as an embed with its files, or as a gallery of several pictures.

Both say the same in the same order. What has once been a gallery cannot become an embed again:
Discord takes no message of components back to one of embeds.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import discord
from discord.ui import ActionRow, Container, LayoutView, MediaGallery, TextDisplay

from bot.facts import Fact, lines
from bot.i18n import _

DESCRIPTION_LIMIT = 4096
FIELD_LIMIT = 1024
LAYOUT_LIMIT = 4000
"""Characters that all texts of a layout have together, at most."""

SMALL = "-# "
"""Discord's mark of a small line, such as the last one of a layout."""

Rows = Sequence[Sequence[discord.ui.Item[Any]]]
"""Buttons and menus below a message, row by row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file of a message; `description` is read out to those who cannot see it.

    Of those that are a `picture` which somebody asked for, several make a gallery.
    """

    filename: str
    content: bytes
    description: str
    spoiler: bool
    picture: bool = False

    def to_file(self) -> discord.File:
        """Return a new discord.File: discord.py closes each one after its request."""
        return discord.File(
            io.BytesIO(self.content),
            filename=self.filename,
            description=self.description,
            spoiler=self.spoiler,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What a message says and shows, apart from its buttons; None leaves its files as they are."""

    title: str
    text: str
    colour: discord.Colour
    facts: tuple[Fact, ...] = ()
    footer: str = ""
    attachments: tuple[Attachment, ...] | None = ()

    @property
    def is_gallery(self) -> bool:
        """Whether it is a layout: it shows several pictures side by side."""
        return sum(file.picture for file in self.attachments or ()) > 1

    @property
    def embed(self) -> discord.Embed:
        """The message as an embed, beside its files."""
        embed = discord.Embed(
            title=self.title, description=self.text[:DESCRIPTION_LIMIT], colour=self.colour
        )
        for fact in self.facts:
            value = fact.value[:FIELD_LIMIT]
            embed.add_field(name=_(fact.name), value=value, inline=fact.inline)
        return embed.set_footer(text=self.footer) if self.footer else embed

    def layout(self, rows: Rows = (), lead: str = "") -> LayoutView:
        """Return the message as a gallery, with what it begins with and the buttons below it."""
        heading = f"### {self.title}\n{self.text}"
        known = (line[:FIELD_LIMIT] for line in lines(self.facts))
        lead, footer, heading, *told = within_layout([lead, self.footer, heading, *known])
        files = [discord.MediaGalleryItem(each.to_file()) for each in self.attachments or ()]
        container: Container[Any] = Container(accent_colour=self.colour)
        container.add_item(TextDisplay(heading)).add_item(MediaGallery(*files))
        if told:
            container.add_item(TextDisplay("\n".join(told)))
        if footer:
            container.add_item(TextDisplay(f"{SMALL}{footer}"))
        view = LayoutView(timeout=None)
        if lead:
            view.add_item(TextDisplay(lead))
        view.add_item(container)
        for row in filter(None, rows):
            view.add_item(ActionRow(*row))
        return view

    def arguments(self, rows: Rows = ()) -> dict[str, Any]:
        """Return the arguments of an edit, with files that are good for one request."""
        arguments: dict[str, Any] = {"allowed_mentions": discord.AllowedMentions.none()}
        if self.is_gallery:  # beside a layout Discord takes neither of the other two
            arguments |= {"content": None, "embed": None, "view": self.layout(rows)}
        else:
            arguments |= {"embed": self.embed, "view": _buttons(rows)}
        if self.attachments is not None:
            arguments["attachments"] = [each.to_file() for each in self.attachments]
        return arguments

    def new_arguments(self, rows: Rows = (), lead: str = "") -> dict[str, Any]:
        """Return the arguments of a message of its own, which may begin with one more text."""
        arguments = self.arguments(rows)
        arguments["files"] = arguments.pop("attachments", ())  # as they are called there
        if self.is_gallery:
            arguments["view"] = self.layout(rows, lead)
        elif lead:
            arguments["content"] = lead
        return arguments


def within_layout(texts: Sequence[str]) -> list[str]:
    """Return texts as far as a layout has room for all: the longest are cut to the same length."""
    room = LAYOUT_LIMIT - len(SMALL) - len(texts)  # what is between them counts too
    lengths = [len(text) for text in texts]
    most = next(n for n in range(room, 0, -1) if sum(min(n, each) for each in lengths) <= room)
    return [text[:most] for text in texts]


def footers(message: discord.Message) -> Iterator[str]:
    """Yield what stands at the bottom of a message, as an embed's footer or as a small line."""
    for embed in message.embeds:
        yield embed.footer.text or ""
    for component in message.components:
        if isinstance(component, discord.Container):
            for part in component.children:
                if isinstance(part, discord.TextDisplay) and part.content.startswith(SMALL):
                    yield part.content.removeprefix(SMALL)


def _buttons(rows: Rows) -> discord.ui.View | None:
    """Return the buttons below an embed, None where there are none."""
    view = discord.ui.View(timeout=None)
    for number, row in enumerate(rows):
        for item in row:
            item.row = number
            view.add_item(item)
    return view if view.children else None
