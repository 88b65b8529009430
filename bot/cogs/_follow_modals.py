"""What is asked of who goes on with a picture: an edit, a part to repaint, other options."""

from __future__ import annotations

from typing import Any

import discord
from discord.ui import Label, Modal, TextInput

from bot import followups
from bot.client import FluxBot, answering
from bot.cogs._follow import follow
from bot.cogs._mask_preview import show_preview
from bot.cogs._pressed import inputs_of, picture_of
from bot.cogs._submit import random_seed
from bot.cogs._visit import defaults
from bot.errors import RequestError
from bot.i18n import _
from bot.inference.requests import MAX_PROMPT
from bot.inference.tools import TOOLS
from bot.inference.types import SEED_LIMIT
from bot.records import Job

LONGEST_NUMBER = 12
LONGEST_AREA = 100


class FollowModal(Modal):
    """Asks about a job's picture; what it opened with is looked at again when it is sent."""

    def __init__(self, title: str, kind: str, job: Job, number: int) -> None:
        # by its fixed id the modal takes the place of one that was opened before and left
        super().__init__(title=title, custom_id=f"made:{kind}:{job.id}:{number}")
        self._job = job
        self._number = number

    async def on_submit(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Make a job of what was typed."""
        async with answering(interaction):
            await self.go_on(interaction)

    async def go_on(self, interaction: discord.Interaction[FluxBot]) -> None:
        """Read what was typed, and hand over what it asks for."""
        raise NotImplementedError


class Edit(FollowModal):
    """Asks what shall change in a picture, for Kontext."""

    def __init__(self, job: Job, number: int) -> None:
        super().__init__(_("Edit the picture"), "edit", job, number)
        self._prompt = _prompt_input(placeholder=_("make it night"))
        self.add_item(Label(text=_("What shall change?"), component=self._prompt))

    async def go_on(self, interaction: discord.Interaction[FluxBot]) -> None:
        """Queue the change."""
        picture = await picture_of(interaction, self._job, self._number)
        here = await defaults(interaction)
        request = followups.edit(
            here.family, self._prompt.value, seed=random_seed(), quantization=here.quantization
        )
        await follow(interaction, self._job, request, {"image": picture})


class Repaint(FollowModal):
    """Asks which part of a picture shall become what, and shows that part before it is painted."""

    def __init__(self, job: Job, number: int) -> None:
        super().__init__(_("Repaint a part of the picture"), "repaint", job, number)
        self._area: TextInput[Any] = TextInput(
            custom_id="area", max_length=LONGEST_AREA, placeholder=_("the hat")
        )
        self._prompt = _prompt_input(placeholder=_("a crown of flowers"))
        self.add_item(
            Label(
                text=_("Which part?"),
                description=_("In English words; or left half, centre …, or x y w h in percent"),
                component=self._area,
            )
        )
        self.add_item(Label(text=_("What shall be there?"), component=self._prompt))

    async def go_on(self, interaction: discord.Interaction[FluxBot]) -> None:
        """Show the preview of the mask."""
        picture = await picture_of(interaction, self._job, self._number)
        here, origin = await defaults(interaction), self._job.origin
        request = followups.repaint(
            here.family,
            self._prompt.value,
            self._area.value,
            seed=random_seed(),
            quantization=here.quantization,
        )

        async def read() -> dict[str, bytes]:
            return {"image": picture}

        await show_preview(
            interaction,
            request,
            private=True if origin.private else None,
            spoiler=origin.spoiler,
            images=read,
        )


class Remix(FollowModal):
    """Asks for the same with other options, which it shows as they were; picture 0 is all of a job.

    One picture of several is had alone by its own seed.
    """

    def __init__(self, job: Job, number: int) -> None:
        super().__init__(_("Remix"), "remix", job, number)
        self._request = request = followups.alone(job.request, number)
        self._prompt = _prompt_input(default=request.prompt, required=bool(request.prompt))
        self._steps = _number_input("steps", request.num_inference_steps)
        self._guidance = _number_input("guidance", request.guidance_scale)
        self._seed = _number_input("seed", request.seed)
        self.add_item(Label(text=_("Prompt"), component=self._prompt))
        self.add_item(Label(text=_("Steps"), component=self._steps))
        if TOOLS[request.tool].guidance is not None:
            self.add_item(Label(text=_("Guidance"), component=self._guidance))
        self.add_item(Label(text=_("Seed"), component=self._seed))

    async def go_on(self, interaction: discord.Interaction[FluxBot]) -> None:
        """Queue the job with what was changed."""
        images = await inputs_of(interaction, self._job)
        here, has_guidance = await defaults(interaction), self._request.guidance_scale is not None
        request = followups.remix(
            here.family,
            self._request,
            prompt=self._prompt.value,
            steps=_whole("steps", self._steps.value),
            guidance=_decimal("guidance", self._guidance.value) if has_guidance else None,
            seed=_whole("seed", self._seed.value),
        )
        await follow(interaction, self._job, request, images)


def _prompt_input(
    *, default: str | None = None, placeholder: str | None = None, required: bool = True
) -> TextInput[Any]:
    return TextInput(
        custom_id="prompt",
        style=discord.TextStyle.paragraph,
        default=default,
        placeholder=placeholder,
        required=required,
        max_length=MAX_PROMPT,
    )


def _number_input(name: str, value: float | None) -> TextInput[Any]:
    default = None if value is None else f"{value:.10g}"
    return TextInput(custom_id=name, default=default, max_length=LONGEST_NUMBER)


def _whole(name: str, text: str) -> int:
    """Return the whole number that was typed; raise RequestError for anything else."""
    text = text.strip()
    if not (text.isascii() and text.isdecimal()):
        raise RequestError(
            _("`{option}` is no whole number.", option=name),
            _("Type digits alone: 4 steps, or a seed below {limit}.", limit=SEED_LIMIT),
        )
    return int(text)


def _decimal(name: str, text: str) -> float:
    """Return the number that was typed, with a point or a comma; raise RequestError."""
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise RequestError(
            _("`{option}` is no number.", option=name), _("Type one such as 3.5.")
        ) from None
