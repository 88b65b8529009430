"""What is asked of who goes on with a picture: an edit, a part to repaint, other options.

A form may be sent after a restart. So discord.py does not keep it: its `custom_id` says what it is
about, and `submitted` reads all that come.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import discord
from discord.ui import Label, Modal, TextInput

from bot import followups
from bot.client import FluxBot, answering
from bot.cogs._follow import follow, free_quantization
from bot.cogs._mask_preview import show_preview
from bot.cogs._pressed import inputs_of, picture_of, pressed_job
from bot.cogs._submit import random_seed
from bot.cogs._visit import defaults
from bot.errors import RequestError
from bot.i18n import _, number
from bot.inference.requests import MAX_PROMPT
from bot.inference.types import SEED_LIMIT, Request
from bot.records import Job

LONGEST_NUMBER = 12
LONGEST_AREA = 100

FORM = re.compile(
    r"made:form:(?P<kind>edit|repaint|remix):(?P<job_id>\d{1,18}):(?P<position>\d{1,3})"
)

Typed = Mapping[str, str]


async def ask(
    interaction: discord.Interaction[FluxBot], kind: str, job: Job, position: int
) -> None:
    """Open a form about one picture of a job, counted from 1, or about all of it, which is 0."""
    match kind:
        case "edit":
            title, labels = _("Edit the picture"), _edit_labels()
        case "repaint":
            title, labels = _("Repaint a part of the picture"), _repaint_labels()
        case _:
            title, labels = _("Remix"), _remix_labels(followups.alone(job.request, position))
    modal = Modal(title=title, custom_id=f"made:form:{kind}:{job.id}:{position}")
    for label in labels:
        modal.add_item(label)
    modal.stop()  # so that discord.py does not wait for it, neither here nor after a restart
    await interaction.response.send_modal(modal)


async def submitted(interaction: discord.Interaction[FluxBot]) -> None:
    """Make a job of a form that was sent; those that are not about results are left alone."""
    data: Mapping[str, Any] = interaction.data or {}
    match = FORM.fullmatch(data.get("custom_id", ""))
    if interaction.type is not discord.InteractionType.modal_submit or match is None:
        return
    typed = dict(_values(data.get("components", ())))
    async with answering(interaction, typed=typed.get("prompt", "")):
        # whoever opened it may have lost sight of the job since, or it may be deleted
        job, position = await pressed_job(interaction, int(match["job_id"])), int(match["position"])
        match match["kind"]:
            case "edit":
                await _edit(interaction, job, position, typed)
            case "repaint":
                await _repaint(interaction, job, position, typed)
            case _:
                await _remix(interaction, job, position, typed)


async def _edit(
    interaction: discord.Interaction[FluxBot], job: Job, position: int, typed: Typed
) -> None:
    """Have Kontext change a picture as was typed."""
    picture, here = await picture_of(interaction, job, position), await defaults(interaction)
    request = followups.edit(
        here.family, typed.get("prompt", ""), seed=random_seed(), quantization=here.quantization
    )
    await follow(interaction, job, request, {"image": picture})


async def _repaint(
    interaction: discord.Interaction[FluxBot], job: Job, position: int, typed: Typed
) -> None:
    """Show the mask of the part that was named, before it is painted."""
    picture, here = await picture_of(interaction, job, position), await defaults(interaction)
    request = followups.repaint(
        here.family,
        typed.get("prompt", ""),
        typed.get("area", ""),
        seed=random_seed(),
        quantization=here.quantization,
    )

    async def read() -> dict[str, bytes]:
        return {"image": picture}

    await show_preview(
        interaction,
        request,
        private=True if job.origin.private else None,
        spoiler=job.origin.spoiler,
        images=read,
    )


async def _remix(
    interaction: discord.Interaction[FluxBot], job: Job, position: int, typed: Typed
) -> None:
    """Make a job once more with what was changed; what was not asked for stays as it was."""
    images, here = await inputs_of(interaction, job), await defaults(interaction)
    request = followups.remix(
        here.family,
        followups.alone(job.request, position),
        prompt=typed.get("prompt", ""),
        steps=_whole("steps", typed["steps"]) if "steps" in typed else None,
        guidance=_decimal("guidance", typed["guidance"]) if "guidance" in typed else None,
        seed=_whole("seed", typed.get("seed", "")),
    )
    await follow(interaction, job, await free_quantization(interaction, request), images)


def _edit_labels() -> Iterator[Label[Any]]:
    prompt = _prompt_input(placeholder=_("make it night"))
    yield Label(text=_("What shall change?"), component=prompt)


def _repaint_labels() -> Iterator[Label[Any]]:
    area: TextInput[Any] = TextInput(
        custom_id="area", max_length=LONGEST_AREA, placeholder=_("the hat")
    )
    yield Label(
        text=_("Which part?"),
        description=_("In English words; or left half, centre …, or x y w h in percent"),
        component=area,
    )
    prompt = _prompt_input(placeholder=_("a crown of flowers"))
    yield Label(text=_("What shall be there?"), component=prompt)


def _remix_labels(request: Request) -> Iterator[Label[Any]]:
    """Yield the options as they were, but for those that a sweep varies."""
    prompt = _prompt_input(default=request.prompt, required=bool(request.prompt))
    yield Label(text=_("Prompt"), component=prompt)
    varied = followups.varied(request)
    if "steps" not in varied:
        steps = _number_input("steps", request.num_inference_steps)
        yield Label(text=_("Steps"), component=steps)
    if "guidance" not in varied and request.guidance_scale is not None:
        guidance = _number_input("guidance", request.guidance_scale)
        yield Label(text=_("Guidance"), component=guidance)
    yield Label(text=_("Seed"), component=_number_input("seed", request.seed))


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


def _number_input(name: str, value: float) -> TextInput[Any]:
    return TextInput(custom_id=name, default=number(value), max_length=LONGEST_NUMBER)


def _values(components: Any) -> Iterator[tuple[str, str]]:
    """Yield what was typed, by the custom_ids of the inputs."""
    for label in components:
        typed = label.get("component", {})
        if isinstance(typed.get("value"), str):
            yield typed["custom_id"], typed["value"]


def _whole(name: str, text: str) -> int:
    """Return the whole number that was typed; raise RequestError for anything else."""
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER):
        raise RequestError(
            _("`{option}` is no whole number.", option=name),
            _("Type one such as `4`; a seed is below {limit}.", limit=SEED_LIMIT),
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
