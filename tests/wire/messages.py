"""What the simulated Discord keeps: interactions, messages with their history, and their JSON."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

APPLICATION_ID = "100000000000000001"
GUILD_ID = "200000000000000001"
CHANNEL_ID = "300000000000000001"
OTHER_GUILD_ID = "200000000004194305"
"""Another server; of two shards it has the second one."""
OTHER_CHANNEL_ID = "300000000004194305"
DIRECT_CHANNEL_ID = "300000000000000003"
MEMBER_ID = "400000000000000001"
STRANGER_ID = "400000000000000002"

EPHEMERAL, LOADING = 1 << 6, 1 << 7

_counter = itertools.count()


def snowflake() -> str:
    """Return a new id that tells the time, as discord.py reads it."""
    return str((int(time.time() * 1000) - 1420070400000 << 22) + next(_counter))


def user(user_id: str, name: str = "somebody") -> dict[str, Any]:
    """Return a user as Discord describes one."""
    bot = user_id == APPLICATION_ID
    return {"id": user_id, "username": name, "discriminator": "0", "avatar": None, "bot": bot}


def channel(guild_id: str = GUILD_ID) -> dict[str, Any]:
    """Return the one text channel of a server."""
    # the ids of servers and of their channels begin with another digit each
    return {
        "id": CHANNEL_ID[0] + guild_id[1:],
        "type": 0,
        "name": "pictures",
        "position": 0,
        "guild_id": guild_id,
    }


def guild(guild_id: str = GUILD_ID) -> dict[str, Any]:
    """Return a server, as in GUILD_CREATE."""
    return {
        "id": guild_id,
        "name": "A server",
        "owner_id": MEMBER_ID,
        "unavailable": False,
        "member_count": 2,
        "channels": [channel(guild_id)],
        "roles": [{"id": guild_id, "name": "@everyone", "permissions": "0", "position": 0}],
        "members": [],
        "threads": [],
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What a message showed from one edit to the next, and the route by which that came."""

    content: str
    embeds: list[dict[str, Any]]
    components: list[dict[str, Any]]
    files: dict[str, bytes]
    flags: int
    route: str

    @property
    def text(self) -> str:
        """All that can be read: content, the texts of a layout, and what the embeds say."""
        parts = [self.content, *(each.get("content", "") for each in self._parts)]
        for embed in self.embeds:
            fields = embed.get("fields", [])
            parts += [embed.get("title", ""), embed.get("description", "")]
            parts += [part for each in fields for part in (each["name"], each["value"])]
        return "\n".join(parts)

    @property
    def custom_ids(self) -> list[str]:
        """The ids of the buttons."""
        return [each["custom_id"] for each in self._parts if "custom_id" in each]

    @property
    def gallery(self) -> list[dict[str, Any]]:
        """The items of the gallery."""
        return [item for each in self._parts for item in each.get("items", [])]

    @property
    def _parts(self) -> list[dict[str, Any]]:
        return [part for each in self.components for part in (each, *each.get("components", []))]


@dataclass(slots=True)
class Message:
    """A message and all that it has shown; `acknowledged_after` is in seconds."""

    id: str
    channel_id: str = CHANNEL_ID
    history: list[Version] = field(default_factory=list)
    acknowledged_after: float = 0.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def now(self) -> Version:
        """What it shows."""
        return self.history[-1]

    def change(self, body: dict[str, Any], files: dict[str, bytes], route: str) -> None:
        """Apply the body of a request: what it does not name stays."""
        before = self.history[-1] if self.history else None
        kept = before.files if before and "attachments" not in body else {}
        self.history.append(
            Version(
                content=body.get("content", before.content if before else "") or "",
                embeds=body.get("embeds", before.embeds if before else []) or [],
                components=body.get("components", before.components if before else []) or [],
                files={**kept, **files},
                flags=body.get("flags", before.flags & ~LOADING if before else 0) or 0,
                route=route,
            )
        )
        self._changed.set()

    async def until(self, shows: Callable[[Version], object], seconds: float = 60.0) -> Version:
        """Wait until the message shows what is wanted, and return it."""
        try:
            async with asyncio.timeout(seconds):
                while not shows(self.now):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"the message still shows {self.now.text!r}") from None
        return self.now

    async def reads(self, text: str, seconds: float = 60.0) -> Version:
        """Wait until a text can be read in the message."""
        return await self.until(lambda version: text in version.text, seconds)

    def to_json(self) -> dict[str, Any]:
        """Return the message as Discord describes it."""
        url = f"https://cdn.discordapp.com/attachments/{self.channel_id}/{self.id}"
        return {
            "id": self.id,
            "channel_id": self.channel_id,
            "type": 20,
            "author": user(APPLICATION_ID),
            "content": self.now.content,
            "embeds": self.now.embeds,
            "components": self.now.components,
            "attachments": [
                {
                    "id": snowflake(),
                    "filename": name,
                    "size": len(content),
                    "url": f"{url}/{name}",
                    "proxy_url": f"{url}/{name}",
                }
                for name, content in self.now.files.items()
            ],
            "flags": self.now.flags,
            "timestamp": datetime.now(UTC).isoformat(),
            "edited_timestamp": None,
            "tts": False,
            "pinned": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
        }


@dataclass(slots=True)
class Interaction:
    """A command or click, and what the bot has answered: `original` is what @original names."""

    sent_at: float
    id: str = field(default_factory=snowflake)
    original: Message | None = None
    callback: int | None = None
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)
    replies: list[Message] = field(default_factory=list)

    @property
    def token(self) -> str:
        """The token by which the bot answers."""
        return f"token-of-{self.id}"

    def message(self, message_id: str) -> Message | None:
        """Return one of its messages."""
        if message_id == "@original":
            return self.original
        known = [*self.replies, *([self.original] if self.original else [])]
        return next((each for each in known if each.id == message_id), None)
