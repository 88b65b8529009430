"""“Edit with Kontext” and “Make variations” in the menu of any message that has pictures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import discord
from discord import app_commands
from discord.ext import commands
from discord.ui import Label, Modal, Select, TextInput

from bot import followups
from bot.client import FluxBot, answering
from bot.cogs._attachments import attached, pictures_of, read
from bot.cogs._follow_modals import submitted
from bot.cogs._pressed import picture_of
from bot.cogs._submit import random_seed, submit
from bot.cogs._visit import Defaults, defaults
from bot.cogs.image_info import own_job
from bot.errors import JobError, RequestError
from bot.followups import Variation
from bot.i18n import N_, _
from bot.inference.requests import MAX_PROMPT
from bot.inference.types import Request
from bot.records import Job
from bot.thumbnails import hidden

EDIT = "Edit with Kontext"
VARY = "Make variations"

RESTARTED = N_(
    "The bot was restarted while this was open. Please choose the command in the menu once more."
)

MOST = 25
"""Pictures of one message that can be chosen from."""

VARIATIONS: dict[Variation, str] = {"subtle": N_("Subtly"), "strong": N_("Strongly")}

Order = Callable[[Defaults, str], Request]
"""Makes a request, without its image, of a prompt and what holds where it was typed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A picture of a message: what tells it from others, how to read it, and how it was shown."""

    label: str
    name: str | None = None
    read: Callable[[], Awaitable[bytes]]
    private: bool
    spoiler: bool


async def edit_with_kontext(
    interaction: discord.Interaction[FluxBot], message: discord.Message
) -> None:
    """Ask what shall change in a picture of a message."""
    await interaction.response.send_modal(
        _edit_form(await sources(interaction, message), _custom_id(interaction, "edit"))
    )


async def make_variations(
    interaction: discord.Interaction[FluxBot], message: discord.Message
) -> None:
    """Ask how a picture of a message shall be varied."""
    await interaction.response.send_modal(
        _vary_form(await sources(interaction, message), _custom_id(interaction, "vary"))
    )


async def sources(
    interaction: discord.Interaction[FluxBot], message: discord.Message
) -> list[Source]:
    """Return the pictures of a message; raise RequestError where there is none.

    Of the bot's own they are those that it keeps: what it has sent may be a grid, or a JPEG.
    """
    job = await own_job(interaction, message)
    if job is not None and await interaction.client.storage.history.has_pictures(job.id):
        if kept := _of_job(interaction, job):
            return kept
        raise RequestError(_("This message shows no pictures."), _("Choose one that does."))
    pictures = pictures_of(message)[:MOST]
    if not pictures:
        raise RequestError(_("This message has no pictures."), _("Choose one that has."))
    private = message.flags.ephemeral or (job is not None and job.origin.private)
    return [_of_attachment(n, each, private=private) for n, each in enumerate(pictures, 1)]


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


def _of_attachment(position: int, attachment: discord.Attachment, *, private: bool) -> Source:
    """Return a file of a message; raise RequestError for what cannot be worked with."""
    files = attached(image=attachment)

    async def content() -> bytes:
        return (await read(files))["image"]

    return Source(
        label=_("Picture {number}", number=position),
        name=attachment.filename[:100],
        read=content,
        private=private,
        spoiler=attachment.is_spoiler(),
    )


class PictureModal(Modal):
    """Asks which picture is meant, where there are several, and what is to be made of it.

    It ends with what the `prompt` is typed into, and `order` makes a request of that.
    """

    def __init__(
        self,
        title: str,
        pictures: Sequence[Source],
        custom_id: str,
        prompt: Label[Any],
        order: Order,
        *labels: Label[Any],
    ) -> None:
        # by its id it takes the place of one that the same member opened before and left
        super().__init__(title=title, custom_id=custom_id)
        self._pictures = pictures
        self._prompt = cast(TextInput[Any], prompt.component)
        self._order = order
        self._choice: Select[Any] | None = None
        if len(pictures) > 1:
            self._choice = _select(
                "picture", [(each.label, str(n), each.name) for n, each in enumerate(pictures)]
            )
            self.add_item(Label(text=_("Which picture?"), component=self._choice))
        for label in (*labels, prompt):
            self.add_item(label)

    async def on_submit(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Queue what was asked for."""
        typed = self._prompt.value
        async with answering(interaction, typed=typed):
            chosen = 0 if self._choice is None else int(self._choice.values[0])
            source = self._pictures[chosen]

            async def images() -> dict[str, bytes]:
                return {"image": await source.read()}

            await submit(
                interaction,
                self._order(await defaults(interaction), typed),
                private=True if source.private else None,
                spoiler=source.spoiler,
                images=images,
            )


def _edit_form(pictures: Sequence[Source], custom_id: str) -> PictureModal:
    """Return what asks which change is wanted, for Kontext."""

    def order(here: Defaults, prompt: str) -> Request:
        return followups.edit(
            here.family, prompt, seed=random_seed(), quantization=here.quantization
        )

    prompt: TextInput[Any] = TextInput(
        custom_id="prompt",
        style=discord.TextStyle.paragraph,
        placeholder=_("make it night"),
        max_length=MAX_PROMPT,
    )
    label = Label(text=_("What shall change?"), component=prompt)
    return PictureModal(_(EDIT), pictures, custom_id, label, order)


def _vary_form(pictures: Sequence[Source], custom_id: str) -> PictureModal:
    """Return what asks how much may change, and what the picture shall show besides, for Redux."""
    variation = _select("variation", [(_(label), v, None) for v, label in VARIATIONS.items()])

    def order(here: Defaults, prompt: str) -> Request:
        return followups.vary(
            here.family,
            cast(Variation, variation.values[0]),
            prompt=prompt,
            seed=random_seed(),
            quantization=here.quantization,
        )

    prompt: TextInput[Any] = TextInput(
        custom_id="prompt",
        style=discord.TextStyle.paragraph,
        required=False,
        max_length=MAX_PROMPT,
    )
    label = Label(text=_("What shall it show? (optional)"), component=prompt)
    how = Label(text=_("How shall it be varied?"), component=variation)
    return PictureModal(_(VARY), pictures, custom_id, label, order, how)


def _select(custom_id: str, choices: Sequence[tuple[str, str, str | None]]) -> Select[Any]:
    """Return a select in which the first choice is made already."""
    options = [
        discord.SelectOption(label=label, value=value, description=told, default=number == 0)
        for number, (label, value, told) in enumerate(choices)
    ]
    return Select(custom_id=custom_id, options=options)


def _custom_id(interaction: discord.Interaction[FluxBot], kind: str) -> str:
    """Return the id of a form that this process alone can read: the pictures are not in it."""
    return f"menu:{interaction.client.process_id}:{kind}:{interaction.user.id}"


class Pictures(commands.Cog):
    """The two commands in the menu of a message, and the forms that outlive the process."""

    def __init__(self, bot: FluxBot) -> None:
        self._bot = bot
        tools, self._menus = bot.family.tools(), list[app_commands.ContextMenu]()
        if "kontext" in tools:
            self._menus.append(app_commands.ContextMenu(name=EDIT, callback=edit_with_kontext))
        if "redux" in tools:
            self._menus.append(app_commands.ContextMenu(name=VARY, callback=make_variations))

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction[FluxBot]) -> None:
        """Read the forms about results, and answer those that an earlier process has opened."""
        await submitted(interaction)
        data = cast(Mapping[str, Any], interaction.data or {})
        kind, _colon, rest = str(data.get("custom_id", "")).partition(":")
        if kind == "menu" and not rest.startswith(interaction.client.process_id):
            async with answering(interaction):
                raise JobError(_(RESTARTED))

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
