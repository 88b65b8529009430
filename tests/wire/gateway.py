"""The gateway's side of websockets: sessions, heartbeats, and the events that a resume replays."""

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

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT = 0, 1, 2, 6, 7
INVALID_SESSION, HELLO, HEARTBEAT_ACK = 9, 10, 11

UNKNOWN_ERROR, AUTHENTICATION_FAILED, SHARDING_REQUIRED = 4000, 4004, 4011

Event = tuple[str, Any]


@dataclass(slots=True)
class Session:
    """What one identify began; its number of an event is the event's place in the list."""

    id: str
    shard: int
    events: list[Event] = field(default_factory=list)


class Connection:
    """One websocket to one bot, compressed where the bot asks for it."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        compress: str | None,
    ) -> None:
        self.socket = socket
        self.transport = transport
        self.beats: list[float] = []
        self.is_silent = False
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
    """Serves one bot at a time, on as many shards as it has.

    `greeting` gives the events that answer an identify, for a session's id, a shard and how many
    shards there are.
    """

    def __init__(self, token: str, greeting: Callable[[str, int, int], list[Event]]) -> None:
        self.heartbeat_interval = 1.0
        self.identifies: list[dict[str, Any]] = []
        self.resumes: list[dict[str, Any]] = []
        self.lets_in = asyncio.Event()
        self.lets_in.set()
        self._token = token
        self._greeting = greeting
        self._numbers = itertools.count(1)
        self._shards = 1
        self._sessions: dict[int, Session] = {}
        self._connections: dict[int, Connection] = {}
        self._connected = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one websocket from hello to its end."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        connection = Connection(socket, request.transport, request.query.get("compress"))
        await self.lets_in.wait()
        try:
            await connection.send(HELLO, {"heartbeat_interval": self.heartbeat_interval * 1000})
            async for message in socket:
                if message.type is WSMsgType.TEXT and not connection.is_silent:
                    await self._receive(connection, json.loads(message.data))
        except ConnectionError:
            pass  # the bot was killed
        finally:
            self._forget(connection)
        return socket

    async def online(self, seconds: float = 30.0) -> None:
        """Wait until the bot has identified or resumed on all of its shards."""
        async with asyncio.timeout(seconds), self._connected:
            await self._connected.wait_for(lambda: len(self._connections) == self._shards)

    def shard_of(self, guild_id: str) -> int:
        """Return the shard that serves a server."""
        return (int(guild_id) >> 22) % self._shards

    async def dispatch(self, event: str, data: Any, shard: int = 0) -> None:
        """Send an event; without a connection it waits for the bot to resume."""
        assert shard in self._sessions, "the bot has not identified yet"
        events = self._sessions[shard].events
        events.append((event, data))
        if shard in self._connections:
            await self._connections[shard].send(DISPATCH, data, event, len(events))

    async def drop(self, code: int = UNKNOWN_ERROR, shard: int = 0) -> None:
        """Close a connection; the session can be resumed, unless the code forbids it."""
        await self._connections.pop(shard).socket.close(code=code)

    async def ask_to_reconnect(self, shard: int = 0) -> None:
        """Tell the bot to connect anew and resume, as Discord does now and then."""
        await self._connections.pop(shard).send(RECONNECT, None)

    async def invalidate(self, shard: int = 0, *, resumable: bool = False) -> None:
        """Tell the bot that a session is over: it has to identify anew, or may resume it."""
        if not resumable:
            self.forget_session(shard)
        await self._connections.pop(shard).send(INVALID_SESSION, resumable)

    def forget_session(self, shard: int = 0) -> None:
        """Refuse to resume the session that there is."""
        del self._sessions[shard]

    def cut(self, shard: int = 0) -> None:
        """End a connection without a word, as a network does that fails."""
        transport = self._connections.pop(shard).transport
        assert transport is not None
        transport.abort()

    def fall_silent(self, shard: int = 0) -> None:
        """Say nothing on a connection any more, not even that a heartbeat has come."""
        self._connections.pop(shard).is_silent = True

    def longest_gap(self, since: float) -> float:
        """Return the longest time without a heartbeat from `since`, by time.monotonic(), to now."""
        beats = self._connections[0].beats
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
        shard, self._shards = data["shard"]
        session = self._sessions[shard] = Session(f"session-{next(self._numbers)}", shard)
        for name, body in self._greeting(session.id, shard, self._shards):
            session.events.append((name, body))
            await connection.send(DISPATCH, body, name, len(session.events))
        await self._note(shard, connection)

    async def _resume(self, connection: Connection, data: dict[str, Any]) -> None:
        sessions = self._sessions.values()
        session = next((each for each in sessions if each.id == data["session_id"]), None)
        if session is None:
            await connection.send(INVALID_SESSION, False)
            return
        missed = session.events[data["seq"] :]
        for number, (name, body) in enumerate(missed, data["seq"] + 1):
            await connection.send(DISPATCH, body, name, number)
        session.events.append(("RESUMED", {}))
        await connection.send(DISPATCH, {}, "RESUMED", len(session.events))
        await self._note(session.shard, connection)

    async def _note(self, shard: int, connection: Connection) -> None:
        self._connections[shard] = connection
        async with self._connected:
            self._connected.notify_all()

    def _forget(self, connection: Connection) -> None:
        gone = [shard for shard, each in self._connections.items() if each is connection]
        for shard in gone:
            del self._connections[shard]
