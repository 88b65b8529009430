"""One press, though a finger was nervous or the network slow."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import discord

DOUBLE = timedelta(seconds=2)
"""Between two presses of the same member on the same button that are meant as one."""


class Presses:
    """Remembers who has pressed what just now, by the time of Discord's clock."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int, str], datetime] = {}

    def is_repeated(self, interaction: discord.Interaction[Any], custom_id: str) -> bool:
        """Note a press, and tell whether it only repeats the one before."""
        now = interaction.created_at
        message_id = interaction.message.id if interaction.message else 0
        press = (interaction.user.id, message_id, custom_id)
        before = self._last.get(press)
        self._last = {each: at for each, at in self._last.items() if now - at < DOUBLE}
        self._last[press] = now
        return before is not None and now - before < DOUBLE
