"""A Discord on 127.0.0.1 with a server or two of one channel each, and what their members do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, Self

from aiohttp import web

from .gateway import Event, Gateway
from .messages import (
    APPLICATION_ID,
    DIRECT_CHANNEL_ID,
    GUILD_ID,
    MEMBER_ID,
    Interaction,
    Message,
    channel,
    guild,
    snowflake,
    user,
)
from .rest import ANSWERING, TOKEN, Fault, Rest

COMMAND, COMPONENT = 2, 3

VIEW_CHANNEL, SEND_MESSAGES, EMBED_LINKS, ATTACH_FILES = 1 << 10, 1 << 11, 1 << 14, 1 << 15
USE_COMMANDS = 1 << 31


class FakeDiscord:
    """The server, with a driver for its members and for what goes wrong."""

    def __init__(self) -> None:
        self.url = ""
        self.patience = 10.0
        self.gateway = Gateway(TOKEN, self._greeting)
        self._faults: list[Fault] = []
        self.rest = Rest(self._faults)

    @classmethod
    @asynccontextmanager
    async def serve(cls) -> AsyncIterator[Self]:
        """Listen on a free port."""
        discord = cls()
        application = discord.rest.application()
        application.router.add_get("/gateway", discord.gateway.handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            discord.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            discord.rest.gateway = discord.url.replace("http", "ws") + "/gateway"
            yield discord
        finally:
            await runner.cleanup()

    async def slash(
        self,
        command: str,
        user_id: str = MEMBER_ID,
        guild_id: str | None = GUILD_ID,
        **options: Any,
    ) -> Message:
        """Give a command and return the message that acknowledges it; bytes are attached files.

        Without a server it is given in a direct message.
        """
        known = next(each for each in self.rest.commands if each["name"] == command)
        types = {each["name"]: each["type"] for each in known["options"]}
        files = [self._attach(name, v) for name, v in options.items() if isinstance(v, bytes)]
        options |= {each["filename"].partition(".")[0]: each["id"] for each in files}
        data = {
            "resolved": {"attachments": {each["id"]: each for each in files}},
            "id": known["id"],
            "name": command,
            "type": 1,
            "options": [{"name": k, "type": types[k], "value": v} for k, v in options.items()],
        }
        interaction = await self._interact(COMMAND, user_id, {"data": data}, guild_id=guild_id)
        assert interaction.original is not None
        return interaction.original

    def _attach(self, name: str, content: bytes) -> dict[str, Any]:
        file_id = snowflake()
        self.rest.uploads[file_id] = content
        return {
            "id": file_id,
            "filename": f"{name}.png",
            "size": len(content),
            "url": f"{self.url}/cdn/{file_id}",
            "proxy_url": f"{self.url}/cdn/{file_id}",
            "content_type": "image/png",
        }

    async def click(
        self, message: Message, custom_id: str, user_id: str = MEMBER_ID
    ) -> Interaction:
        """Click a button of a message and return the interaction, which the bot has answered."""
        assert custom_id in message.now.custom_ids, f"the message has no button {custom_id}"
        data = {"component_type": 2, "custom_id": custom_id}
        body = {"data": data, "message": message.to_json()}
        return await self._interact(COMPONENT, user_id, body, message)

    def fail(self, method: str, path: str, *, status: int, **what: Any) -> None:
        """Refuse requests, by default one, whose path fits a regular expression."""
        self._faults.append(Fault(kind="error", method=method, path=path, status=status, **what))

    def cut(self, method: str, path: str, *, carried_out: bool = False, **what: Any) -> None:
        """Reset the connection instead of answering, with the request carried out or not."""
        kind: Literal["lost", "cut"] = "lost" if carried_out else "cut"
        self._faults.append(Fault(kind=kind, method=method, path=path, **what))

    def limit(self, method: str, path: str, *, retry_after: float, **what: Any) -> None:
        """Refuse requests for the time being, on their route or, if `is_global`, on all."""
        what |= {"status": 429, "retry_after": retry_after}
        self._faults.append(Fault(kind="error", method=method, path=path, **what))

    def break_off(self, method: str, path: str) -> None:
        """Reset the connection while the next request with a file is still being sent."""
        self._faults.append(Fault(kind="broken", method=method, path=path))

    def shorten(self, path: str, **what: Any) -> None:
        """Hang up when half of a file that a member has attached is sent."""
        self._faults.append(Fault(kind="short", method="GET", path=path, **what))

    def delay(self, method: str, path: str, *, seconds: float, **what: Any) -> None:
        """Carry a request out late; of a member's file, send the second half late."""
        self._faults.append(Fault(kind="delay", method=method, path=path, seconds=seconds, **what))

    def heal(self) -> None:
        """Let everything work again."""
        self._faults.clear()
        self.rest.about.clear()
        self.rest.overwrites.clear()
        self.rest.granted = ANSWERING

    async def _interact(
        self,
        kind: int,
        user_id: str,
        body: dict[str, Any],
        message: Message | None = None,
        guild_id: str | None = GUILD_ID,
    ) -> Interaction:
        interaction = Interaction(sent_at=time.monotonic(), original=message)
        self.rest.interactions[interaction.token] = interaction
        place = _direct(user_id) if guild_id is None else _in_server(guild_id, user_id)
        payload = body | place
        payload |= {
            "id": interaction.id,
            "application_id": APPLICATION_ID,
            "type": kind,
            "token": interaction.token,
            "version": 1,
            "app_permissions": str(VIEW_CHANNEL | SEND_MESSAGES | EMBED_LINKS | ATTACH_FILES),
            "attachment_size_limit": 10 * 1024 * 1024,
            "locale": "en-US",
            "entitlements": [],
        }
        # direct messages come by the first shard
        shard = 0 if guild_id is None else self.gateway.shard_of(guild_id)
        await self.gateway.dispatch("INTERACTION_CREATE", payload, shard)
        await asyncio.wait_for(interaction.acknowledged.wait(), self.patience)
        return interaction

    def _greeting(self, session_id: str, shard: int, shards: int) -> list[Event]:
        served = [each for each in self.rest.guild_ids if self.gateway.shard_of(each) == shard]
        ready = {
            "v": 10,
            "user": user(APPLICATION_ID),
            "session_id": session_id,
            "shard": [shard, shards],
            "resume_gateway_url": self.rest.gateway,
            "guilds": [{"id": guild_id, "unavailable": True} for guild_id in served],
            "application": {"id": APPLICATION_ID, "flags": 0},
        }
        return [("READY", ready), *(("GUILD_CREATE", guild(guild_id)) for guild_id in served)]


def _in_server(guild_id: str, user_id: str) -> dict[str, Any]:
    """Return what an interaction says of the place where it is, and of who does it."""
    member = {
        "user": user(user_id),
        "roles": [],
        "joined_at": "2026-01-01T00:00:00+00:00",
        "deaf": False,
        "mute": False,
        "flags": 0,
        "permissions": str(SEND_MESSAGES | USE_COMMANDS),
    }
    return {
        "guild_id": guild_id,
        "channel": channel(guild_id),
        "channel_id": channel(guild_id)["id"],
        "member": member,
        "guild_locale": "en-US",
        "authorizing_integration_owners": {"0": guild_id},
        "context": 0,
    }


def _direct(user_id: str) -> dict[str, Any]:
    """Return the same of a direct message."""
    direct = {"id": DIRECT_CHANNEL_ID, "type": 1, "recipients": [user(user_id)]}
    return {
        "channel": direct,
        "channel_id": DIRECT_CHANNEL_ID,
        "user": user(user_id),
        "authorizing_integration_owners": {"0": "0"},
        "context": 1,
    }
