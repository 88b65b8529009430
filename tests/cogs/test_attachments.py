"""Attached files on a wire that fails: discord.py's own client against a server that misbehaves."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import discord
import pytest
from aiohttp import web

from bot.cogs import _attachments
from bot.cogs._attachments import attached, read
from bot.errors import AttachmentUnreadable, RequestError
from tests.cogs.messages import photo, refusal
from tests.conftest import Scene
from tests.doubles import HeldExecutor

CONTENT = bytes(range(256)) * 4000

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """Where Discord keeps attachments; the answers are given in turn, the last one for ever."""

    url: str
    state: Any
    answers: list[Answer]
    requests: list[str] = field(default_factory=list)

    def attachment(self, name: str = "cat.png", **about: Any) -> discord.Attachment:
        """Return an attachment as a command brings it."""
        payload = {
            "id": "1",
            "filename": name,
            "size": len(CONTENT),
            "url": f"{self.url}/{name}",
            "proxy_url": f"{self.url}/{name}",
            "content_type": "image/png",
        }
        return discord.Attachment(data=payload | about, state=self.state)  # type: ignore[arg-type]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request with what it has coming."""
        self.requests.append(request.path)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return await answer(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server on this machine, and discord.py's client with a session to reach it."""
    client = discord.Client(intents=discord.Intents(guilds=True))
    async with aiohttp.ClientSession() as session:
        client.http._HTTPClient__session = session  # type: ignore[attr-defined]
        server = Server(url="", state=client._connection, answers=[whole])
        app = web.Application()
        app.router.add_get("/{name}", server.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            server.url = "http://127.0.0.1:{}".format(*runner.addresses[0][1:])
            yield server
        finally:
            await runner.cleanup()


async def whole(_: web.Request) -> web.StreamResponse:
    return web.Response(body=CONTENT)


async def gone(_: web.Request) -> web.StreamResponse:
    return web.Response(status=404)


async def unwell(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def reset(request: web.Request) -> web.StreamResponse:
    """Make the other side see errno 104, connection reset by peer."""
    assert request.transport is not None
    line = request.transport.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response()


async def truncated(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(CONTENT))})
    await response.prepare(request)
    await response.write(CONTENT[:1000])
    assert request.transport is not None
    request.transport.close()
    return response


async def slow(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0.2)
    return web.Response(body=CONTENT)


async def test_what_was_attached_is_read_byte_for_byte(server: Server) -> None:
    assert await read({"image": server.attachment()}) == {"image": CONTENT}


@pytest.mark.parametrize("fault", [reset, truncated])
async def test_a_connection_that_breaks_once_is_tried_again(server: Server, fault: Answer) -> None:
    server.answers = [fault, whole]
    assert await read({"image": server.attachment()}) == {"image": CONTENT}
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "reason", "tries"),
    [
        (gone, "it is not there any more", 1),
        (unwell, "Discord answers 503", 1),
        (reset, "the connection broke off", 2),
        (truncated, "it came incomplete", 2),
    ],
)
async def test_what_cannot_be_read_is_one_sentence_with_its_reason(
    server: Server, answer: Answer, reason: str, tries: int
) -> None:
    server.answers = [answer]
    with pytest.raises(AttachmentUnreadable) as raised:
        await read({"image": server.attachment()})
    assert str(raised.value) == (
        f"The file `cat.png` could not be read from Discord: {reason}. Please attach it once more."
    )
    # aiohttp by itself repeats a GET that was reset before its answer began
    assert len(server.requests) >= tries


async def test_a_file_that_takes_too_long_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_attachments, "READ_SECONDS", 0.1)
    server.answers = [slow]
    with pytest.raises(AttachmentUnreadable, match="it took more than 0 seconds"):
        await read({"image": server.attachment()})


async def test_several_files_are_read_at_the_same_time(server: Server) -> None:
    server.answers = [slow]
    names = [f"{number}.png" for number in range(4)]
    before = asyncio.get_running_loop().time()
    contents = await read({name: server.attachment(name) for name in names})
    assert asyncio.get_running_loop().time() - before < 0.6
    assert contents == dict.fromkeys(names, CONTENT)


async def test_of_several_faults_one_is_told(server: Server) -> None:
    server.answers = [gone]
    with pytest.raises(AttachmentUnreadable, match="it is not there any more"):
        await read({name: server.attachment(f"{name}.png") for name in ("image", "image2")})


async def test_a_file_that_is_too_large_is_refused_before_it_is_read(server: Server) -> None:
    with pytest.raises(RequestError) as raised:
        attached(image=server.attachment(size=30_000_000))
    assert str(raised.value) == (
        "`image` has 30.0 MB, but at most 26.2 MB are read. Make it smaller and attach it again."
    )
    assert server.requests == []


@pytest.mark.parametrize("kind", ["video/mp4", "text/plain; charset=utf-8", "application/pdf"])
async def test_what_is_clearly_no_image_is_refused_before_it_is_read(
    server: Server, kind: str
) -> None:
    with pytest.raises(RequestError, match=f"`mask` is no image, but {kind.partition(';')[0]}"):
        attached(image=server.attachment(), mask=server.attachment(content_type=kind))
    assert server.requests == []


@pytest.mark.parametrize("kind", [None, "image/heic", "application/octet-stream"])
async def test_what_may_be_an_image_is_read(server: Server, kind: str | None) -> None:
    assert list(attached(image=server.attachment(content_type=kind), mask=None)) == ["image"]


@pytest.mark.parametrize("command", ["kontext", "fill"])
async def test_a_command_whose_file_is_gone_says_so_and_queues_nothing(
    held_scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(held_scene.env.backend.cdn, "get", lambda url: None)
    result = await held_scene.alice.slash(
        held_scene.channel, command, image=photo(), prompt="a hat", private=True
    )
    assert refusal(held_scene, result) == (
        "The file `photo.png` could not be read from Discord: it is not there any more. "
        "Please attach it once more."
    )
    assert held.started == []
