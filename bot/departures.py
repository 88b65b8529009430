"""Who is not there any more, since when: servers without the bot, members who left a server."""

from __future__ import annotations

from dataclasses import dataclass

from bot.database import Database

THE_BOT = 0
"""Stands for the bot itself in the place of a member."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Departure:
    """A member who left a server, or the bot itself; `left_at` is in seconds since 1970."""

    guild_id: int
    user_id: int
    left_at: float


class Departures:
    """The departures that a database knows of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, guild_id: int, user_id: int, left_at: float) -> None:
        """Note that somebody has left, unless that is known."""
        await self._database.change(
            "INSERT OR IGNORE INTO departures (guild_id, user_id, left_at) VALUES (?, ?, ?)",
            guild_id,
            user_id,
            left_at,
        )

    async def clear(self, guild_id: int, user_id: int) -> None:
        """Note that somebody is there, again or still."""
        await self._database.change(
            "DELETE FROM departures WHERE guild_id = ? AND user_id = ?", guild_id, user_id
        )

    async def before(self, left_at: float) -> list[Departure]:
        """Return who left before a time, the first of them first."""
        rows = await self._database.rows(
            "SELECT guild_id, user_id, left_at FROM departures WHERE left_at < ? ORDER BY left_at",
            left_at,
        )
        return [Departure(**dict(row)) for row in rows]
