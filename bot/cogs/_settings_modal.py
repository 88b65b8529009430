"""What a setting is typed into: its present value as text, and a select of whom to add to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import discord
from discord.ui import Label, Modal, RoleSelect, TextDisplay, TextInput, UserSelect

from bot.client import FluxBot, answering
from bot.errors import RequestError
from bot.i18n import _
from bot.setting_kinds import EMPTY, Kind, Whole
from bot.setting_maps import Bans, RoleFactors
from bot.settings import Key

LONGEST = 4000
"""Characters that Discord's text inputs take."""

Changed = Callable[[discord.Interaction[FluxBot], Any], Awaitable[None]]


class SettingModal(Modal):
    """Asks for a new value, and hands what it is to `changed`."""

    def __init__(self, key: Key, value: Any, custom_id: str, changed: Changed) -> None:
        """Raise RequestError for a value that is too long to be edited."""
        # by its fixed id the modal takes the place of one that was opened before and left
        super().__init__(title=key.title, custom_id=custom_id)
        text = key.kind.edit(value)
        if len(text) > LONGEST:
            raise RequestError(
                _("`{name}` is too long to be edited here.", name=key.name),
                _("Use `/settings export` and `/settings import`."),
            )
        self._kind = key.kind
        self._changed = changed
        self._adder = _adder(key.kind)
        self._typed: TextInput[Any] = TextInput(
            custom_id="value",
            style=_style(key.kind),
            default=text,
            required=False,
            max_length=LONGEST,
        )
        self.add_item(TextDisplay(f"{_(key.description)}."))
        if self._adder is not None:
            for item in self._adder.labels:
                self.add_item(item)
        self.add_item(TextDisplay(_("Allowed: {hint}.", hint=key.kind.hint)))
        self.add_item(
            Label(
                text=_("All of them") if self._adder else _("Value"),
                component=self._typed,
            )
        )

    async def on_submit(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Read what was typed, with those that were chosen as if they had been typed too."""
        async with answering(interaction):
            text = self._typed.value
            if self._adder is not None and (lines := self._adder.lines()):
                text = "\n".join(lines if text.strip().lower() in EMPTY else [text, *lines])
            await self._changed(interaction, self._kind.parse(text))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Adder:
    """Adds roles or members, whose ids hardly anybody can type."""

    sign: str
    select: RoleSelect[Any] | UserSelect[Any]
    question: str
    rest: TextInput[Any]

    @property
    def labels(self) -> tuple[Label[Any], Label[Any]]:
        return (
            Label(text=_("Add or change"), component=self.select),
            Label(text=self.question, component=self.rest),
        )

    def lines(self) -> list[str]:
        """Return what would be typed to add who was chosen."""
        return [f"<{self.sign}{each.id}> {self.rest.value}" for each in self.select.values]


def _adder(kind: Kind) -> _Adder | None:
    match kind:
        case RoleFactors():
            return _Adder(
                sign="@&",
                select=RoleSelect(custom_id="added", min_values=0, max_values=25),
                question=_("How many times the limits"),
                rest=TextInput(
                    custom_id="rest", placeholder=_("3, or 0 for no limits"), required=False
                ),
            )
        case Bans():
            return _Adder(
                sign="@",
                select=UserSelect(custom_id="added", min_values=0, max_values=25),
                question=_("For how many days, and why"),
                rest=TextInput(custom_id="rest", placeholder=_("7 spam"), required=False),
            )
        case _:
            return None


def _style(kind: Kind) -> discord.TextStyle:
    return discord.TextStyle.short if isinstance(kind, Whole) else discord.TextStyle.paragraph
