"""The gateway's side of a websocket: sessions, heartbeats, and the events that a resume replays."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

DISPATCH, HEARTBEAT, IDENTIFY, RESUME = 0, 1, 2, 6
INVALID_SESSION, HELLO, HEARTBEAT_ACK = 9, 10, 11

UNKNOWN_ERROR, AUTHENTICATION_FAILED = 4000, 4004

Event = tuple[str, Any]


@dataclass(slots=True)
class Session:
    """What one identify began; its number of an event is the event's place in the list."""

    id: str
    events: list[Event] = field(default_factory=list)


class Connection:
    """One websocket to one bot, compressed where the bot asks for it."""

    def __init__(self, socket: web.WebSocketResponse, compress: str | None) -> None:
        self.socket = socket
        self.beats: list[float] = []
        # discord.py takes plain text as well, whatever it asked for
        self._deflate = zlib.compressobj() if compress == "zlib-stream" else None

    async def send(self, op: int, data: Any, event: str | None = None, number: int = 0) -> None:
        """Send one payload."""
        text = json.dumps({"op": op, "d": data, "t": event, "s": number or None})
        if self._deflate is None:
            await self.socket.send_str(text)
            return
        block = self._deflate.compress(text.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        await self.socket.send_bytes(block)


class Gateway:
    """Serves one bot at a time; `greeting` gives the events that answer an identify."""

    def __init__(self, token: str, greeting: Callable[[str], list[Event]]) -> None:
        self.heartbeat_interval = 1.0
        self.identifies: list[dict[str, Any]] = []
        self.resumes: list[dict[str, Any]] = []
        self._token = token
        self._greeting = greeting
        self._numbers = itertools.count(1)
        self._session: Session | None = None
        self._connections: list[Connection] = []
        self._online = asyncio.Event()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one websocket from hello to its end."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        connection = Connection(socket, request.query.get("compress"))
        self._connections.append(connection)
        try:
            await connection.send(HELLO, {"heartbeat_interval": self.heartbeat_interval * 1000})
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._receive(connection, json.loads(message.data))
        except ConnectionError:
            pass  # the bot was killed
        finally:
            if connection is self._connections[-1]:
                self._online.clear()
        return socket

    async def online(self, seconds: float = 30.0) -> None:
        """Wait until the bot has identified or resumed."""
        await asyncio.wait_for(self._online.wait(), seconds)

    async def dispatch(self, event: str, data: Any) -> None:
        """Send an event; without a connection it waits for the bot to resume."""
        assert self._session is not None, "the bot has not identified yet"
        self._session.events.append((event, data))
        if self._online.is_set():
            number = len(self._session.events)
            await self._connections[-1].send(DISPATCH, data, event, number)

    async def drop(self, code: int = UNKNOWN_ERROR) -> None:
        """Close the connection; the session can be resumed, unless the code forbids it."""
        self._online.clear()
        await self._connections[-1].socket.close(code=code)

    def longest_gap(self, since: float) -> float:
        """Return the longest time without a heartbeat from `since`, by time.monotonic(), to now."""
        beats = self._connections[-1].beats
        first = max((beat for beat in beats if beat <= since), default=None)
        assert first is not None, "the bot connected anew in this time"
        times = [beat for beat in beats if beat >= first] + [time.monotonic()]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    async def _receive(self, connection: Connection, payload: dict[str, Any]) -> None:
        op, data = payload["op"], payload["d"]
        if op == HEARTBEAT:
            connection.beats.append(time.monotonic())
            await connection.send(HEARTBEAT_ACK, None)
        elif op == IDENTIFY:
            self.identifies.append(data)
            await self._begin(connection, data)
        elif op == RESUME:
            self.resumes.append(data)
            await self._resume(connection, data)

    async def _begin(self, connection: Connection, data: dict[str, Any]) -> None:
        if data["token"] != self._token:
            await connection.socket.close(code=AUTHENTICATION_FAILED)
            return
        session = self._session = Session(f"session-{next(self._numbers)}")
        for name, body in self._greeting(session.id):
            session.events.append((name, body))
            await connection.send(DISPATCH, body, name, len(session.events))
        self._online.set()

    async def _resume(self, connection: Connection, data: dict[str, Any]) -> None:
        session = self._session
        if session is None or session.id != data["session_id"]:
            await connection.send(INVALID_SESSION, False)
            return
        missed = session.events[data["seq"] :]
        for number, (name, body) in enumerate(missed, data["seq"] + 1):
            await connection.send(DISPATCH, body, name, number)
        session.events.append(("RESUMED", {}))
        await connection.send(DISPATCH, {}, "RESUMED", len(session.events))
        self._online.set()
