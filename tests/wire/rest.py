"""The HTTP side of the simulated Discord: the routes that the bot uses, and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from aiohttp import web

from .messages import (
    APPLICATION_ID,
    CHANNEL_ID,
    DIRECT_CHANNEL_ID,
    EPHEMERAL,
    GUILD_ID,
    LOADING,
    MEMBER_ID,
    Interaction,
    Message,
    channel,
    guild,
    snowflake,
    user,
)

TOKEN = "a-token-that-is-right"
PREFIX = "/api/v10"

ANSWERING = 1 << 10 | 1 << 11 | 1 << 14 | 1 << 15
"""The permissions to see a channel, to send messages, to embed links and to attach files."""

MESSAGE, DEFERRED_MESSAGE, DEFERRED_UPDATE, UPDATE = 4, 5, 6, 7


@dataclass(kw_only=True, slots=True)
class Call:
    """One request of the bot, and the status of its answer (0: the connection was reset)."""

    method: str
    path: str
    names: Mapping[str, str]
    body: Any
    files: dict[str, bytes]
    at: float = field(default_factory=time.monotonic)
    status: int = 0


@dataclass(kw_only=True, slots=True)
class Fault:
    """What goes wrong with the next `times` requests whose method, path and a file's name fit."""

    kind: Literal["error", "cut", "lost", "delay", "broken", "short"]
    method: str
    path: str
    times: float = 1
    file: str | None = None
    status: int = 0
    code: int = 0
    text: str = ""
    seconds: float = 0.0
    retry_after: float | None = None
    is_global: bool = False

    def meets(self, call: Call) -> bool:
        """Tell whether it goes wrong with a request, and count that."""
        if self.times <= 0 or self.method != call.method or not re.fullmatch(self.path, call.path):
            return False
        if self.file is not None and not any(re.fullmatch(self.file, name) for name in call.files):
            return False
        self.times -= 1
        return True


Answer = Callable[[Call], web.Response]


class Rest:
    """The routes, on the interactions and messages that there are; `faults` is the driver's."""

    def __init__(self, faults: list[Fault]) -> None:
        self.gateway = ""
        self.shards = 1
        self.sessions_left = 1000
        self.guild_ids = [GUILD_ID]
        self.calls: list[Call] = []
        self.broken_off: list[str] = []
        self.commands: list[dict[str, Any]] = []
        self.interactions: dict[str, Interaction] = {}
        self.messages: dict[str, Message] = {}
        self.uploads: dict[str, bytes] = {}
        self.about: dict[str, Any] = {}
        self.granted = ANSWERING
        self.overwrites: list[dict[str, Any]] = []
        self._faults = faults
        self._of_nonce: dict[str, Message] = {}

    def application(self) -> web.Application:
        """Return the routes as a web application."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        webhook = f"/webhooks/{APPLICATION_ID}/{{token}}"
        routes: list[tuple[str, str, Answer]] = [
            ("GET", "/users/@me", self._me),
            ("GET", "/oauth2/applications/@me", self._my_application),
            ("GET", "/gateway/bot", self._where_the_gateway_is),
            ("GET", "/users/@me/guilds", self._my_guilds),
            ("GET", f"/guilds/{GUILD_ID}", self._guild),
            ("GET", f"/guilds/{GUILD_ID}/channels", self._channels),
            ("GET", f"/guilds/{GUILD_ID}/members/{APPLICATION_ID}", self._my_membership),
            ("PUT", f"/applications/{APPLICATION_ID}/commands", self._sync),
            ("PUT", f"/applications/{APPLICATION_ID}/guilds/{GUILD_ID}/commands", self._sync),
            ("POST", "/interactions/{id}/{token}/callback", self._callback),
            ("POST", webhook, self._follow_up),
            ("GET", f"{webhook}/messages/{{message}}", self._webhook_message),
            ("PATCH", f"{webhook}/messages/{{message}}", self._webhook_message),
            ("POST", "/users/@me/channels", self._open_direct_channel),
            ("GET", "/channels/{channel}/messages", self._last_messages),
            ("POST", "/channels/{channel}/messages", self._post),
            ("PATCH", "/channels/{channel}/messages/{message}", self._edit),
            ("*", "/{path:.*}", lambda call: _refusal(404, 0)),
        ]
        for method, path, answer in routes:
            app.router.add_route(method, PREFIX + path, partial(self._serve, answer))
        app.router.add_get("/cdn/{name}", self._upload)
        return app

    async def _serve(self, answer: Answer, request: web.Request) -> web.Response:
        """Record a request, let the faults loose on it, check its token and answer it."""
        if self._breaks_off(request):
            await request.content.readany()
            return _reset(request)
        call = await _read(request)
        self.calls.append(call)
        fault = self._fault(call)
        kind = fault.kind if fault else None
        if kind == "cut":
            return _reset(request)
        if fault and kind == "delay":
            await asyncio.sleep(fault.seconds)
        by_token = call.path.startswith(("/webhooks/", "/interactions/"))
        if fault and kind == "error":
            response = _failure(fault)
        elif not by_token and request.headers.get("Authorization") != f"Bot {TOKEN}":
            response = _refusal(401, 0)
        else:
            response = answer(call)
        if kind == "lost":
            return _reset(request)
        call.status = response.status
        return response

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        """Answer with a file that a member has attached; this is no part of the API."""
        call = await _read(request)
        content = self.uploads.get(call.names["name"])
        fault = self._fault(call)
        if fault and fault.kind == "cut":
            return _reset(request)
        if content is None or (fault and fault.kind == "error"):
            return web.Response(status=fault.status if fault else 404)
        if fault is None:
            return web.Response(body=content)
        return await _dribble(request, content, fault)

    def _fault(self, call: Call) -> Fault | None:
        """Return what goes wrong with a request that is read."""
        faults = (each for each in self._faults if each.kind != "broken")
        return next((each for each in faults if each.meets(call)), None)

    def _breaks_off(self, request: web.Request) -> bool:
        """Tell whether the connection is to be reset while a file is still being uploaded."""
        if request.content_type != "multipart/form-data":
            return False
        path = request.path.removeprefix(PREFIX)
        call = Call(method=request.method, path=path, names={}, body=None, files={})
        broken = any(each.kind == "broken" and each.meets(call) for each in self._faults)
        if broken:
            self.broken_off.append(path)
        return broken

    def _me(self, _: Call) -> web.Response:
        return _json(user(APPLICATION_ID))

    def _my_application(self, _: Call) -> web.Response:
        flags = {"bot_public": True, "bot_require_code_grant": False, "flags": 0}
        names = {"id": APPLICATION_ID, "name": "flux", "description": "", "icon": None}
        return _json(flags | names | {"owner": user(MEMBER_ID), "verify_key": ""} | self.about)

    def _my_guilds(self, _: Call) -> web.Response:
        names = ("id", "name", "icon", "owner", "permissions", "features")
        described = [self._described(each) for each in self.guild_ids]
        return _json([{name: each.get(name) for name in names} for each in described])

    def _guild(self, _: Call) -> web.Response:
        return _json(self._described(GUILD_ID))

    def _channels(self, _: Call) -> web.Response:
        return _json([channel() | {"permission_overwrites": self.overwrites}])

    def _my_membership(self, _: Call) -> web.Response:
        return _json(
            {
                "user": user(APPLICATION_ID),
                "roles": [],
                "joined_at": "2026-01-01T00:00:00+00:00",
                "deaf": False,
                "mute": False,
                "flags": 0,
            }
        )

    def _described(self, guild_id: str) -> dict[str, Any]:
        """Return a server with what its members may do, which is what the bot may."""
        described = guild(guild_id)
        described["roles"][0]["permissions"] = str(self.granted)
        return described | {"owner": False, "permissions": str(self.granted), "features": []}

    def _where_the_gateway_is(self, call: Call) -> web.Response:
        limit = {
            "total": 1000,
            "remaining": self.sessions_left,
            "reset_after": 7_200_000,
            "max_concurrency": 1,
        }
        return _json({"url": self.gateway, "shards": self.shards, "session_start_limit": limit})

    def _sync(self, call: Call) -> web.Response:
        ids = {"application_id": APPLICATION_ID, "version": snowflake()}
        # what is in the menu of a message comes without a description, and goes with an empty one
        self.commands = [
            {"description": "", **each, **ids, "id": snowflake()} for each in call.body
        ]
        return _json(self.commands)

    def _callback(self, call: Call) -> web.Response:
        interaction = self.interactions.get(call.names["token"])
        if interaction is None:
            return _refusal(404, 10062)
        if interaction.acknowledged.is_set():
            return _refusal(400, 40060)
        kind, data = call.body["type"], dict(call.body.get("data") or {})
        if kind == DEFERRED_MESSAGE:
            data["flags"] = data.get("flags", 0) | LOADING
        if kind in (MESSAGE, DEFERRED_MESSAGE):
            interaction.original = self._new_message(call, data)
            interaction.original.acknowledged_after = call.at - interaction.sent_at
        elif kind == UPDATE and interaction.original is not None:
            interaction.original.change(data, call.files, f"{call.method} {call.path}")
        interaction.callback = kind
        interaction.acknowledged.set()
        about: dict[str, Any] = {"id": interaction.id, "type": 2}
        resource: dict[str, Any] = {"type": kind}
        if kind != DEFERRED_UPDATE and interaction.original is not None:
            about["response_message_id"] = interaction.original.id
            about["response_message_loading"] = kind == DEFERRED_MESSAGE
        if kind in (MESSAGE, UPDATE) and interaction.original is not None:
            resource["message"] = interaction.original.to_json()
        return _json({"interaction": about, "resource": resource})

    def _follow_up(self, call: Call) -> web.Response:
        interaction = self.interactions.get(call.names["token"])
        if interaction is None or not interaction.acknowledged.is_set():
            return _refusal(404, 10015)
        message = self._new_message(call, call.body)
        interaction.replies.append(message)
        return _json(message.to_json())

    def _webhook_message(self, call: Call) -> web.Response:
        interaction = self.interactions.get(call.names["token"])
        if interaction is None:
            return _refusal(404, 10015)
        message = interaction.message(call.names["message"])
        return self._show(call, message)

    def _open_direct_channel(self, call: Call) -> web.Response:
        recipient = user(call.body["recipient_id"])
        return _json({"id": DIRECT_CHANNEL_ID, "type": 1, "recipients": [recipient]})

    def _last_messages(self, call: Call) -> web.Response:
        here = (m for m in self.messages.values() if m.channel_id == call.names["channel"])
        seen = [each for each in here if not each.now.flags & EPHEMERAL]
        return _json([each.to_json() for each in reversed(seen[-50:])])

    def _post(self, call: Call) -> web.Response:
        """Make a message, but no second one for a nonce that is to be enforced."""
        nonce = call.body.get("nonce") if call.body.get("enforce_nonce") else None
        message = self._of_nonce.get(nonce) or self._new_message(call, call.body)
        if nonce is not None:
            self._of_nonce[nonce] = message
        return _json(message.to_json())

    def _edit(self, call: Call) -> web.Response:
        message = self.messages.get(call.names["message"])
        hidden = message is not None and message.now.flags & EPHEMERAL
        return self._show(call, None if hidden else message)

    def _show(self, call: Call, message: Message | None) -> web.Response:
        if message is None:
            return _refusal(404, 10008)
        if call.method == "PATCH":
            message.change(call.body, call.files, f"{call.method} {call.path}")
        return _json(message.to_json())

    def _new_message(self, call: Call, data: dict[str, Any]) -> Message:
        message = Message(snowflake(), call.names.get("channel", CHANNEL_ID))
        message.change(data, call.files, f"{call.method} {call.path}")
        self.messages[message.id] = message
        return message


async def _read(request: web.Request) -> Call:
    body, files = None, {}
    if request.content_type == "multipart/form-data":
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                files[value.filename] = value.file.read()
                value.file.close()
            elif name == "payload_json":
                assert isinstance(value, str)
                body = json.loads(value)
    elif request.can_read_body:
        body = await request.json()
    path, names = request.path.removeprefix(PREFIX), dict(request.match_info)
    return Call(method=request.method, path=path, names=names, body=body, files=files)


def _json(value: Any, status: int = 200) -> web.Response:
    # discord.py takes nothing for JSON that names a charset beside it
    body = json.dumps(value).encode()
    return web.Response(body=body, status=status, content_type="application/json")


def _refusal(status: int, code: int, text: str = "") -> web.Response:
    return _json({"code": code, "message": text or f"refused with {code}"}, status)


def _failure(fault: Fault) -> web.Response:
    if fault.retry_after is None:
        return _refusal(fault.status, fault.code, fault.text)
    limit = {"message": "You are being rate limited.", "retry_after": fault.retry_after}
    response = _json(limit | {"global": fault.is_global}, 429)
    # by this header discord.py tells Discord's own limits from those of the proxy before it
    response.headers["Via"] = "1.1 google"
    return response


async def _dribble(request: web.Request, content: bytes, fault: Fault) -> web.StreamResponse:
    """Send a file slowly, or only the first half of it, as far as its reader stays."""
    response = web.StreamResponse(headers={"Content-Length": str(len(content))})
    await response.prepare(request)
    half = len(content) // 2
    await response.write(content[:half])
    if fault.kind == "short":
        assert request.transport is not None
        request.transport.close()
        return response
    await asyncio.sleep(fault.seconds)
    with contextlib.suppress(ConnectionError):
        await response.write(content[half:])
    return response


def _reset(request: web.Request) -> web.Response:
    """Make the bot's side see errno 104, connection reset by peer."""
    assert request.transport is not None
    line = request.transport.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response(status=499)
