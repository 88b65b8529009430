"""One setting as a panel shows it: what it is, where that comes from, and what changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import discord
from discord.ui import ActionRow, Button, ChannelSelect, RoleSelect, Section, Select, TextDisplay

from bot.cogs._settings_place import Place, Setting, clipped
from bot.i18n import _
from bot.setting_kinds import Ids, Kind, OneChannel, OneOf, Several, Switch

MOST_CHOSEN = 25
"""What a select of Discord's takes; longer lists are edited as text."""
SHOWN = 300
"""Characters of one value: a panel has 4,000 in all."""

Plain = Button[Any] | Select[Any] | ChannelSelect[Any] | RoleSelect[Any]
Wrap = Callable[[Plain], discord.ui.Item[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Whose panel it is, and of which place. Its controls say that and all else in their ids."""

    user_id: int
    guild: discord.Guild
    place: Place

    def custom_id(self, verb: str, subject: str) -> str:
        """Return what a control is called that does something to a setting, or to the panel."""
        return f"settings:{verb}:{subject}:{self.place.channel_id}:{self.user_id}"

    def present(self, ids: Iterable[int]) -> list[discord.Object]:
        """Return those channels and roles that there are, which Discord can show as chosen."""
        guild = self.guild
        return [
            discord.Object(each)
            for each in ids
            if guild.get_channel_or_thread(each) or guild.get_role(each)
        ]


def rows(panel: Panel, setting: Setting, wrap: Wrap) -> list[discord.ui.Item[Any]]:
    """Return the components of one setting; `wrap` makes them answer."""
    key = setting.key
    lines = [
        f"**{key.title}** · {clipped(setting.shown, SHOWN)}",
        f"-# {_(key.description)} · {setting.source}",
    ]
    if setting.warning:
        lines.insert(1, "-# " + _("**But:** {warning}", warning=setting.warning))
    text = "\n".join(lines)
    control = _control(panel, setting)
    if not setting.here and isinstance(control, Button):
        return [Section(text, accessory=wrap(control))]
    if not setting.here:
        return [TextDisplay(text), ActionRow(wrap(control))]
    reset: Plain = Button(label=_("Reset"), custom_id=panel.custom_id("reset", key.name))
    if isinstance(control, Button):
        return [TextDisplay(text), ActionRow(wrap(control), wrap(reset))]
    return [Section(text, accessory=wrap(reset)), ActionRow(wrap(control))]


def chosen_value(kind: Kind, chosen: Sequence[str]) -> Any:
    """Return the value that was chosen in the select of a setting; raise RequestError."""
    match kind:
        case OneOf():
            return kind.parse("".join(chosen))
        case OneChannel() | Ids():
            return kind.parse(" ".join(chosen))
        case _:
            return kind.load(chosen)


def _control(panel: Panel, setting: Setting) -> Plain:
    kind, name, value = setting.key.kind, setting.key.name, setting.value
    choose = panel.custom_id("choose", name)
    match kind:
        case Switch():
            verb, label = ("off", _("Turn off")) if value else ("on", _("Turn on"))
            return Button(label=label, custom_id=panel.custom_id(verb, name))
        case OneOf():
            # for a channel, what is unset is no choice: it is then as in the server
            offered = kind.options if panel.place.channel_ids else kind.typed
            options = _options({each: kind.label(each) for each in offered}, [kind.edit(value)])
            return Select(custom_id=choose, options=options, placeholder=kind.show(value))
        case Several():
            options = _options({each: each for each in kind.options}, value)
            return Select(custom_id=choose, options=options, max_values=len(options))
        case Ids(sign="#") if len(panel.present(value)) < len(value):
            # a select would drop what it cannot show, as archived threads
            return Button(label=_("Change"), custom_id=panel.custom_id("change", name))
        case Ids(sign="#") if len(value) <= MOST_CHOSEN:
            return ChannelSelect(
                custom_id=choose,
                placeholder=_("Choose channels or categories"),
                min_values=0,
                max_values=MOST_CHOSEN,
                default_values=panel.present(value),
            )
        case Ids() if len(value) <= MOST_CHOSEN:
            return RoleSelect(
                custom_id=choose,
                placeholder=_("Choose roles"),
                min_values=0,
                max_values=MOST_CHOSEN,
                default_values=panel.present(value),
            )
        case OneChannel():
            return ChannelSelect(
                custom_id=choose,
                placeholder=_("Choose a channel"),
                channel_types=[discord.ChannelType.text, discord.ChannelType.news],
                min_values=0,
                default_values=panel.present([value] if value else []),
            )
        case _:
            return Button(label=_("Change"), custom_id=panel.custom_id("change", name))


def _options(labels: Mapping[str, str], chosen: Sequence[str]) -> list[discord.SelectOption]:
    return [
        discord.SelectOption(label=label, value=value, default=value in chosen)
        for value, label in labels.items()
    ]
