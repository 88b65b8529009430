"""Who may use `/settings`, and what they see of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import discord
import simcord

from tests.conftest import Scene


def add_moderator(
    scene: Scene, name: str = "admin", guild: simcord.GuildHandle | None = None
) -> simcord.MemberActor:
    """Return a member who manages a server, the scene's if none is named."""
    guild = guild or scene.moderator.guild
    permissions = discord.Permissions(manage_guild=True)
    role = guild.create_role(f"role of {name}", permissions=permissions)
    return guild.add_member(scene.env.create_user(name), roles=[role])


def parts(message: simcord.ResponseMessage) -> list[dict[str, Any]]:
    """Return all components of a message, those within others too, in their order."""
    return list(_walk(message.components))


def texts(message: simcord.ResponseMessage) -> list[str]:
    """Return the texts of a message of components, in their order."""
    return [part["content"] for part in parts(message) if part["type"] == 10]


def _walk(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for part in components:
        yield part
        yield from _walk(part.get("components", []))
        yield from _walk([part["accessory"]] if "accessory" in part else [])
