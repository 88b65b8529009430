"""“Edit with Kontext” and “Make variations” in the menu of any message that has pictures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import discord
from discord import app_commands
from discord.ext import commands
from discord.ui import Label, Modal, Select, TextInput

from bot import followups
from bot.client import FluxBot, answering
from bot.cogs._attachments import attached, read
from bot.cogs._pressed import picture_of
from bot.cogs._submit import random_seed, submit
from bot.cogs._visit import defaults
from bot.cogs.image_info import own_job
from bot.errors import RequestError
from bot.followups import Variation
from bot.i18n import N_, _
from bot.inference.requests import MAX_PROMPT
from bot.inference.types import Request
from bot.records import Job
from bot.thumbnails import hidden

EDIT = "Edit with Kontext"
VARY = "Make variations"

MOST = 25
"""Pictures of one message that can be chosen from."""

VARIATIONS: dict[Variation, str] = {"subtle": N_("Subtly"), "strong": N_("Strongly")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A picture of a message: what it is called there, how to read it, and how it was shown."""

    label: str
    read: Callable[[], Awaitable[bytes]]
    private: bool
    spoiler: bool


async def edit_with_kontext(
    interaction: discord.Interaction[FluxBot], message: discord.Message
) -> None:
    """Ask what shall change in a picture of a message."""
    await interaction.response.send_modal(EditPicture(await sources(interaction, message)))


async def make_variations(
    interaction: discord.Interaction[FluxBot], message: discord.Message
) -> None:
    """Ask how a picture of a message shall be varied."""
    await interaction.response.send_modal(VaryPicture(await sources(interaction, message)))


async def sources(
    interaction: discord.Interaction[FluxBot], message: discord.Message
) -> list[Source]:
    """Return the pictures of a message; raise RequestError where there is none.

    Of the bot's own they are those that it keeps: what it has sent may be a grid, or a JPEG.
    """
    job = await own_job(interaction, message)
    if job is not None and await interaction.client.storage.archive.has_pictures(job.id):
        if kept := _of_job(interaction, job):
            return kept
        raise RequestError(_("This message shows no pictures."), _("Choose one that does."))
    # what was forwarded is in a snapshot
    files = [*message.attachments, *(f for s in message.message_snapshots for f in s.attachments)]
    pictures = [each for each in files if (each.content_type or "").startswith("image/")]
    if not pictures:
        raise RequestError(_("This message has no pictures."), _("Choose one that has."))
    return [_of_attachment(each) for each in pictures[:MOST]]


def _of_job(interaction: discord.Interaction[FluxBot], job: Job) -> list[Source]:
    assert job.outcome is not None
    unseen = hidden(job)
    return [
        Source(
            label=_("Picture {number}", number=number),
            read=partial(picture_of, interaction, job, number),
            private=job.origin.private,
            spoiler=job.origin.spoiler,
        )
        for number in range(1, len(job.outcome["seeds"]) + 1)
        if number not in unseen
    ]


def _of_attachment(attachment: discord.Attachment) -> Source:
    async def content() -> bytes:
        return (await read(attached(image=attachment)))["image"]

    return Source(
        label=attachment.filename[:100],
        read=content,
        private=False,
        spoiler=attachment.is_spoiler(),
    )


class PictureModal(Modal):
    """Asks which picture is meant, where there are several, and what is to be made of it."""

    def __init__(self, title: str, pictures: Sequence[Source]) -> None:
        super().__init__(title=title)
        self._pictures = pictures
        self._choice: Select[Any] | None = None
        if len(pictures) > 1:
            self._choice = _select(
                "picture", [(each.label, str(n)) for n, each in enumerate(pictures)]
            )
            self.add_item(Label(text=_("Which picture?"), component=self._choice))

    async def on_submit(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Queue what was asked for."""
        async with answering(interaction):
            chosen = 0 if self._choice is None else int(self._choice.values[0])
            source = self._pictures[chosen]

            async def images() -> dict[str, bytes]:
                return {"image": await source.read()}

            await submit(
                interaction,
                await self.request(interaction),
                private=True if source.private else None,
                spoiler=source.spoiler,
                images=images,
            )

    async def request(self, interaction: discord.Interaction[FluxBot]) -> Request:
        """Return the order for the picture, without it."""
        raise NotImplementedError


class EditPicture(PictureModal):
    """Asks what shall change."""

    def __init__(self, pictures: Sequence[Source]) -> None:
        super().__init__(_(EDIT), pictures)
        self._prompt: TextInput[Any] = TextInput(
            custom_id="prompt",
            style=discord.TextStyle.paragraph,
            placeholder=_("make it night"),
            max_length=MAX_PROMPT,
        )
        self.add_item(Label(text=_("What shall change?"), component=self._prompt))

    async def request(self, interaction: discord.Interaction[FluxBot]) -> Request:
        """Return the order to Kontext."""
        here = await defaults(interaction)
        return followups.edit(
            here.family, self._prompt.value, seed=random_seed(), quantization=here.quantization
        )


class VaryPicture(PictureModal):
    """Asks how much may change, and what the picture shall show besides."""

    def __init__(self, pictures: Sequence[Source]) -> None:
        super().__init__(_(VARY), pictures)
        self._variation = _select("variation", [(_(label), v) for v, label in VARIATIONS.items()])
        self._prompt: TextInput[Any] = TextInput(
            custom_id="prompt",
            style=discord.TextStyle.paragraph,
            required=False,
            max_length=MAX_PROMPT,
        )
        self.add_item(Label(text=_("How shall it be varied?"), component=self._variation))
        self.add_item(Label(text=_("What shall it show? (optional)"), component=self._prompt))

    async def request(self, interaction: discord.Interaction[FluxBot]) -> Request:
        """Return the order to Redux."""
        here = await defaults(interaction)
        return followups.vary(
            here.family,
            cast(Variation, self._variation.values[0]),
            prompt=self._prompt.value,
            seed=random_seed(),
            quantization=here.quantization,
        )


def _select(custom_id: str, choices: Sequence[tuple[str, str]]) -> Select[Any]:
    """Return a select in which the first choice is made already."""
    options = [
        discord.SelectOption(label=label, value=value, default=number == 0)
        for number, (label, value) in enumerate(choices)
    ]
    return Select(custom_id=custom_id, options=options)


class Pictures(commands.Cog):
    """The two commands in the menu of a message."""

    def __init__(self, bot: FluxBot) -> None:
        self._bot = bot
        tools, self._menus = bot.family.tools(), list[app_commands.ContextMenu]()
        if "kontext" in tools:
            self._menus.append(app_commands.ContextMenu(name=EDIT, callback=edit_with_kontext))
        if "redux" in tools:
            self._menus.append(app_commands.ContextMenu(name=VARY, callback=make_variations))

    async def cog_load(self) -> None:
        """Add the commands: discord.py does not find context menus in cogs by itself."""
        for menu in self._menus:
            self._bot.tree.add_command(menu)

    async def cog_unload(self) -> None:
        """Take them away again."""
        for menu in self._menus:
            self._bot.tree.remove_command(menu.name, type=menu.type)


async def setup(bot: FluxBot) -> None:
    """Add the cog; called by `load_extension`."""
    await bot.add_cog(Pictures(bot))
