"""The settings of a server as a JSON file: written, and read however broken it is."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Set
from typing import Any

import discord

from bot.client import FluxBot
from bot.cogs._attachments import read
from bot.errors import RequestError
from bot.i18n import N_, _, number
from bot.setting_kinds import Ids, Kind, OneChannel
from bot.setting_maps import RoleFactors
from bot.settings import KEYS
from bot.settings_store import Change

MAX_BYTES = 256 * 1024

ADVICE = N_("Use a file that `/settings export` has written.")


async def export_file(interaction: discord.Interaction[FluxBot]) -> discord.File:
    """Return all settings of the server as a file."""
    assert interaction.guild_id is not None
    exported = await interaction.client.storage.settings.export(interaction.guild_id)
    content = json.dumps(exported, indent=2, ensure_ascii=False).encode()
    return discord.File(
        io.BytesIO(content),
        f"settings-{interaction.guild_id}.json",
        description=_("All settings of this server, as JSON"),
    )


def check_size(attachment: discord.Attachment) -> None:
    """Raise RequestError for a file that is too large to be one of settings."""
    if attachment.size > MAX_BYTES:
        raise RequestError(
            _(
                "The file has {size} KiB, but at most {most} KiB are read.",
                size=number(attachment.size // 1024),
                most=number(MAX_BYTES // 1024),
            ),
            _(ADVICE),
        )


async def read_file(attachment: discord.Attachment) -> Any:
    """Return what a file holds as JSON; raise RequestError if it holds none."""
    content = (await read({"file": attachment}))["file"]
    try:
        value = json.loads(content, object_pairs_hook=_unique, parse_constant=_refuse)
        # escapes may stand for halves of characters, which neither SQLite nor Discord take
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        problem = _("This is no JSON file: it cannot be read.")
        if isinstance(error, json.JSONDecodeError):
            line = number(error.lineno)
            problem = _("This is no JSON file: line {line} cannot be read.", line=line)
        raise RequestError(problem, _(ADVICE)) from error
    return value


def strangers(guild: discord.Guild, changes: Iterable[Change]) -> list[str]:
    """Return the settings that now name channels or roles which are not in this server."""
    there = {each.id for each in (*guild.channels, *guild.threads, *guild.roles)}
    nouns = (
        KEYS[change.key].noun
        for change in changes
        if change.key in KEYS and not _ids(KEYS[change.key].kind, change.new) <= there
    )
    return list(dict.fromkeys(nouns))


def _ids(kind: Kind, value: Any) -> Set[int]:
    """Return the channels and roles that a setting names."""
    match kind:
        case Ids() | RoleFactors() if value is not None:
            return set(value)
        case OneChannel() if value is not None:
            return {value}
        case _:
            return set()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raise ValueError if it says something twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
