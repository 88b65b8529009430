"""The settings of servers and their channels, as rows of what differs from the defaults."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bot.database import Database
from bot.errors import RequestError
from bot.i18n import _, counted, number
from bot.setting_kinds import is_id
from bot.settings import DEFAULTS, KEYS, ServerSettings, key_of

_log = logging.getLogger(__name__)

WHOLE_SERVER = 0
"""Stands for no channel in particular."""

MOST_CHANNELS = 100
"""Channels with settings of their own, in one server."""

FORMAT = 1
"""Of exported files."""

SELECT = "SELECT channel_id, key, value FROM settings WHERE guild_id = ?"
UPSERT = """INSERT OR REPLACE INTO settings (guild_id, channel_id, key, value)
    VALUES (?, ?, ?, ?)"""
DELETE = "DELETE FROM settings WHERE guild_id = ? AND channel_id = ? AND key = ?"
INSERT_LOG = """INSERT INTO settings_log
    (guild_id, channel_id, user_id, key, old, new, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?)"""

Values = Mapping[str, Any]
"""Settings by name; what is not in it is not set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Who changed what and when, in seconds since 1970; None is the default."""

    user_id: int
    channel_id: int
    key: str
    old: Any
    new: Any
    changed_at: float


class SettingsStore:
    """What servers have set. Reads come from memory, which a change brings up to date."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._overrides: dict[int, dict[int, Values]] = {}

    async def at(self, guild_id: int | None, *channel_ids: int) -> ServerSettings:
        """Return what holds in a channel, which is named last, after those that it lies in.

        Outside of servers that is what holds by default.
        """
        if guild_id is None:
            return DEFAULTS
        overrides = await self._of_guild(guild_id)
        values: dict[str, Any] = {}
        for channel_id in (WHOLE_SERVER, *channel_ids):
            values |= overrides.get(channel_id, {})
        return ServerSettings(**values)

    async def overrides(self, guild_id: int, channel_id: int = WHOLE_SERVER) -> Values:
        """Return what is set for a server, or for this one of its channels, and nothing else."""
        return (await self._of_guild(guild_id)).get(channel_id, {})

    async def channels(self, guild_id: int) -> list[int]:
        """Return the channels of a server that have settings of their own."""
        return [each for each in await self._of_guild(guild_id) if each != WHOLE_SERVER]

    async def change(
        self, guild_id: int, channel_id: int, values: Values, *, user_id: int
    ) -> list[Change]:
        """Set some, all or none, and return what has changed; None takes one back.

        Raise RequestError for a value that a setting does not take.
        """
        return await self._write(guild_id, {channel_id: _checked(channel_id, values)}, user_id)

    async def reset(self, guild_id: int, channel_id: int, *, user_id: int) -> list[Change]:
        """Take back all settings of a server, or of one of its channels."""
        mine = await self.overrides(guild_id, channel_id)
        return await self.change(guild_id, channel_id, dict.fromkeys(mine), user_id=user_id)

    async def log(self, guild_id: int, *, count: int, skip: int = 0) -> list[Change]:
        """Return the changes of a server's settings, the latest first."""
        rows = await self._database.rows(
            "SELECT user_id, channel_id, key, old, new, changed_at FROM settings_log"
            " WHERE guild_id = ? ORDER BY id DESC LIMIT ? OFFSET ?",
            guild_id,
            count,
            skip,
        )
        return [_change(*row) for row in rows]

    async def export(self, guild_id: int) -> dict[str, Any]:
        """Return all settings of a server as values that JSON can hold, for `replace_all`."""
        overrides = await self._of_guild(guild_id)
        return {
            "format": FORMAT,
            "server": _dumped(overrides.get(WHOLE_SERVER, {})),
            "channels": {
                str(channel_id): _dumped(values)
                for channel_id, values in overrides.items()
                if channel_id != WHOLE_SERVER
            },
        }

    async def replace_all(self, guild_id: int, exported: Any, *, user_id: int) -> list[Change]:
        """Set exactly what was exported; raise RequestError, and change nothing, if it is faulty.

        What was exported from another server names channels and roles that this one has not: they
        are kept, and match nothing.
        """
        # in a thread: a file can hold as many patterns as take a second to check
        wanted = await asyncio.to_thread(_read_export, exported)
        overrides = await self._of_guild(guild_id)
        for channel_id, values in overrides.items():
            wanted[channel_id] = dict.fromkeys(values) | wanted.get(channel_id, {})
        return await self._write(guild_id, wanted, user_id)

    async def _of_guild(self, guild_id: int) -> dict[int, Values]:
        if guild_id not in self._overrides:
            self._overrides[guild_id] = _read_rows(await self._database.rows(SELECT, guild_id))
        return self._overrides[guild_id]

    async def _write(
        self, guild_id: int, wanted: Mapping[int, Values], user_id: int
    ) -> list[Change]:
        changes = []
        try:
            async with self._database.transaction() as connection:
                known = _texts(await connection.execute_fetchall(SELECT, (guild_id,)))
                for channel_id, values in wanted.items():
                    for name, value in values.items():
                        old = known.get((channel_id, name))
                        new = None if value is None else json.dumps(KEYS[name].kind.dump(value))
                        if old == new:
                            continue
                        row = (guild_id, channel_id, name)
                        if new is None:
                            del known[channel_id, name]
                            await connection.execute(DELETE, row)
                        else:
                            known[channel_id, name] = new
                            await connection.execute(UPSERT, (*row, new))
                        now = time.time()
                        entry = (guild_id, channel_id, user_id, name, old, new, now)
                        await connection.execute(INSERT_LOG, entry)
                        changes.append(_change(user_id, channel_id, name, old, new, now))
                _check_number({channel_id for channel_id, _ in known} - {WHOLE_SERVER})
        finally:
            # also what another task has read meanwhile, and may have been taken back
            self._overrides.pop(guild_id, None)
        return changes


def _texts(rows: Iterable[sqlite3.Row]) -> dict[tuple[int, str], str]:
    return {(row["channel_id"], row["key"]): row["value"] for row in rows}


def _change(
    user_id: int, channel_id: int, key: str, old: str | None, new: str | None, changed_at: float
) -> Change:
    return Change(
        user_id=user_id,
        channel_id=channel_id,
        key=key,
        old=_value(key, old),
        new=_value(key, new),
        changed_at=changed_at,
    )


def _value(key: str, text: str | None) -> Any:
    """Return the value of a row; None where there is none, or where this version knows none."""
    return None if text is None else _loaded(key, text)


# a change makes all rows of its server be read again, and hundreds of patterns take their time
@lru_cache(maxsize=1024)
def _loaded(key: str, text: str) -> Any:
    if key not in KEYS:
        _log.warning("there is a setting %s, which this version does not know", key)
        return None
    try:
        return KEYS[key].kind.load(json.loads(text))
    except (RequestError, ValueError):  # another version wrote it
        # not what it is: that may be a blocked word, or why somebody is banned
        _log.warning("the setting %s has a value that this version does not take", key)
        return None


def _check_number(channels: Collection[int]) -> None:
    if len(channels) > MOST_CHANNELS:
        raise RequestError(
            counted(
                "{n} channel would have settings of its own.",
                "{n} channels would have settings of their own.",
                len(channels),
            ),
            _(
                "{most} at most may: set what they share for their categories.",
                most=number(MOST_CHANNELS),
            ),
        )


def _read_rows(rows: Iterable[sqlite3.Row]) -> dict[int, Values]:
    overrides: dict[int, dict[str, Any]] = {}
    for (channel_id, key), text in _texts(rows).items():
        value = _value(key, text)
        if value is not None:
            overrides.setdefault(channel_id, {})[key] = value
    return dict(overrides)


def _checked(channel_id: int, values: Values) -> dict[str, Any]:
    """Return settings as they are kept; raise RequestError for the first that cannot be."""
    checked = {}
    for name, value in values.items():
        key = key_of(name)
        if channel_id != WHOLE_SERVER and not key.per_channel:
            raise RequestError(
                _("`{name}` holds for the whole server.", name=name),
                _("Set it without naming a channel."),
            )
        try:
            checked[name] = None if value is None else key.kind.load(value)
        except RequestError as error:
            problem, advice = error.args
            raise RequestError(
                _("`{name}`: {problem}", name=name, problem=problem), advice
            ) from None
    return checked


def _dumped(values: Values) -> dict[str, Any]:
    return {name: KEYS[name].kind.dump(value) for name, value in sorted(values.items())}


def _read_export(exported: Any) -> dict[int, dict[str, Any]]:
    """Return settings by channel; raise RequestError for what `export` does not write."""
    advice = _("Use a file that `/settings export` has written.")
    if not isinstance(exported, Mapping) or exported.get("format") != FORMAT:
        raise RequestError(_("This is no file of settings."), advice)
    server, channels = exported.get("server"), exported.get("channels")
    if not isinstance(server, Mapping) or not isinstance(channels, Mapping):
        raise RequestError(_("This file of settings is not whole."), advice)
    wanted = {WHOLE_SERVER: _checked(WHOLE_SERVER, server)}
    for channel_id, values in channels.items():
        if not (channel_id.isdecimal() and len(channel_id) < 20 and is_id(int(channel_id))):
            shown = channel_id[:60].replace("`", "'")
            raise RequestError(_("`{value}` is no channel.", value=shown), advice)
        if not isinstance(values, Mapping):
            raise RequestError(_("This file of settings is not whole."), advice)
        wanted[int(channel_id)] = _checked(int(channel_id), values)
    _check_number(wanted.keys() - {WHOLE_SERVER})
    return wanted
