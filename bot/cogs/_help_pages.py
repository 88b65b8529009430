"""The pages of `/help`: all tools, one of them, the buttons of a picture, and the limits."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import discord
from discord import app_commands
from discord.ui import Container, MediaGallery, Section, Separator, TextDisplay, Thumbnail

from bot import examples
from bot.allowance import Allowance
from bot.client import FluxBot
from bot.cogs import _help_buttons, _help_limits, _options
from bot.cogs._help_texts import BUTTONS, LIMITS, OVERVIEW, PURPOSES
from bot.cogs._visit import visit
from bot.colours import ACCENT
from bot.examples import EXAMPLES
from bot.i18n import N_, _, listed, number
from bot.inference.tools import Tool
from bot.inference.types import Request
from bot.settings import ServerSettings
from bot.units import format_seconds

ALT_TEXT = 256
"""Characters that Discord takes for a picture among components."""
NO_TOOL = N_(
    "No tool is switched on here. Whoever manages the server can change that with"
    " `/settings panel`."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Here:
    """Where somebody asks for help, and what holds for them there.

    `waiting` are the jobs that wait, the member's and those of the whole server.
    """

    bot: FluxBot
    settings: ServerSettings
    allowance: Allowance
    waiting: tuple[int, int]

    @property
    def tools(self) -> Mapping[str, list[Tool]]:
        """The tools that are on and have weights, as this server sets them, by their commands."""
        found: dict[str, list[Tool]] = {}
        for name, tool in self.settings.family(self.bot.family).tools().items():
            if name in self.settings.tools:
                found.setdefault(tool.command, []).append(tool)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What a page shows, and the files that it refers to."""

    items: Sequence[discord.ui.Item[Any]]
    files: Sequence[discord.File] = ()

    def container(self) -> Container[Any]:
        """Return its items in the one frame that all pages have."""
        return Container(*self.items, accent_colour=ACCENT)


async def here(interaction: discord.Interaction[FluxBot]) -> Here:
    """Return what holds where somebody asks."""
    bot, where = interaction.client, visit(interaction)
    return Here(
        bot=bot,
        settings=await bot.policy.settings(where),
        allowance=await bot.policy.allowance(where),
        waiting=bot.jobs.counts(where.guild_id, where.user_id),
    )


def topics(place: Here) -> list[str]:
    """Return what there are pages of."""
    return [OVERVIEW, *place.tools, BUTTONS, LIMITS]


async def page_of(place: Here, topic: str) -> Page:
    """Return a page; what is not there, or is not on any more, is that of all tools."""
    if topic in place.tools:
        return _tool_page(place, topic)
    match topic:
        case "buttons":
            return _buttons_page(place)
        case "limits":
            return Page(items=[TextDisplay(_limits(place))])
        case _:
            # in a thread: the first time they are made smaller
            await asyncio.to_thread(_warm_up, place.tools)
            return _overview(place)


def _overview(place: Here) -> Page:
    items: list[discord.ui.Item[Any]] = [TextDisplay("## " + _("What you can do here"))]
    files = []
    for command, tools in place.tools.items():
        example = EXAMPLES[command]
        models = ", ".join(tool.title for tool in tools)
        text = f"**{place.bot.mention(command)}** {_(PURPOSES[command])}\n-# {models}"
        file = _file(command, examples.thumbnail(command))
        items.append(
            Section(text, accessory=Thumbnail(file, description=_alt_text(example.result)))
        )
        files.append(file)
    if not files:
        items.append(TextDisplay(_(NO_TOOL)))
    if others := _others(place):
        items.append(TextDisplay(_("Besides there are {commands}.", commands=listed(others))))
    items += [TextDisplay(_origin(place)), Separator(), TextDisplay(_limits(place))]
    return Page(items=items, files=files)


def _tool_page(place: Here, command: str) -> Page:
    example = EXAMPLES[command]
    file = _file(command, examples.picture(command))
    gallery: MediaGallery[Any] = MediaGallery(
        discord.MediaGalleryItem(file, description=_alt_text(example.description))
    )
    text = f"## {place.bot.mention(command)}\n{_(PURPOSES[command])}"
    return Page(
        items=[
            TextDisplay(text),
            gallery,
            TextDisplay(f"`{example.typed}`\n{_origin(place)}"),
            Separator(),
            TextDisplay("\n".join(_models(place, command))),
            TextDisplay("\n".join(_own_options(place, command))),
        ],
        files=[file],
    )


def _buttons_page(place: Here) -> Page:
    names = [tool.name for tools in place.tools.values() for tool in tools]
    free = not place.allowance.is_quantization_locked
    lines = _help_buttons.lines(names, free=free)
    if "fill" in place.tools:
        lines.append(_help_buttons.preview_line())
    lines.append(_("*Apps*, in the menu of any message: more for its pictures"))
    return Page(items=[TextDisplay(_list(_("Buttons of a picture"), lines))])


def _limits(place: Here) -> str:
    said = _help_limits.sentences(place.allowance, place.waiting)
    if place.allowance.refusal is not None:
        said.insert(0, f"**{place.allowance.refusal}**")
    return _list(_("Your limits here"), said)


def _list(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", *(f"- {each}" for each in lines)])


def _models(place: Here, command: str) -> list[str]:
    """Return a line for each model: its defaults here, how long it takes, and its licence."""
    lines = []
    for tool in place.tools[command]:
        parts = [f"**{tool.title}**"]
        if command == "generate" and tool.name == place.settings.model:
            parts.append(_("is taken if you name no model"))
        parts.append(_span("steps", tool.steps.low, tool.steps.high, tool.steps.default))
        if (guidance := tool.guidance) is not None:
            parts.append(_span("guidance", guidance.low, guidance.high, guidance.default))
        if (seconds := place.bot.jobs.forecast(_usual(place, tool))) is not None:
            time = format_seconds(seconds)
            parts.append(_("about {time} a picture on this machine", time=time))
        licence = place.bot.family.licence or tool.licence
        parts.append(_("licence of the weights: {licence}", licence=licence))
        lines.append(" · ".join(parts))
    return lines


def _span(option: str, low: float, high: float, default: float) -> str:
    return _(
        "`{option}` {default}, from {low} to {high}",
        option=option,
        default=number(default),
        low=number(low),
        high=number(high),
    )


def _usual(place: Here, tool: Tool) -> Request:
    """Return a request for one picture that leaves out all options."""
    width, height = None, None
    if tool.command == "generate":
        width, height = place.bot.family.pixels(place.settings.size)
    return Request(
        tool=tool.name,
        prompt="",
        width=width,
        height=height,
        num_inference_steps=tool.steps.default,
        guidance_scale=None if tool.guidance is None else tool.guidance.default,
        seed=0,
        quantization=place.allowance.quantization,
    )


def _own_options(place: Here, command: str) -> list[str]:
    """Return a line for each option that not all commands have, and the names of the others."""
    given = place.bot.tree.get_command(command)
    assert isinstance(given, app_commands.Command)
    lines = [
        f"`{each.name}` {_(str(each.description))}"
        for each in given.parameters
        if each.name not in _options.DESCRIPTIONS
    ]
    common = [f"`{each.name}`" for each in given.parameters if each.name in _options.DESCRIPTIONS]
    return [*lines, "-# " + _("And as with all tools: {options}.", options=listed(common))]


def _others(place: Here) -> list[str]:
    """Return the commands that are for everybody and are no tools."""
    commands = place.bot.tree.get_commands(type=discord.AppCommandType.chat_input)
    tools = place.bot.family.tools().values()
    shown = {"help", *(tool.command for tool in tools)}
    return [
        place.bot.mention(each.name)
        for each in commands
        if isinstance(each, app_commands.Command) and each.name not in shown
    ]


def _origin(place: Here) -> str:
    """Return by which models the examples are painted."""
    if place.bot.family.name == "tiny":
        return "-# " + _("The examples are by the tiny models that paint here.")
    return "-# " + _("The examples are by tiny models, which know a few shapes and colours.")


def _warm_up(commands: Mapping[str, object]) -> None:
    for command in commands:
        examples.thumbnail(command)


def _file(command: str, content: bytes) -> discord.File:
    return discord.File(io.BytesIO(content), f"{command}.webp")


def _alt_text(text: str) -> str:
    return _(text)[:ALT_TEXT]
