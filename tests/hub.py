"""A hub on 127.0.0.1 that serves the tiny models under the ids of the full ones."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

BLOCK = 100_000

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(kw_only=True)
class Hub:
    """What is served, what was asked for, and what is to go wrong."""

    folder: Path
    url: str = ""
    newest: str = COMMIT
    """The commit of all repositories that is read where none is named."""
    sent: list[str] = field(default_factory=list)
    """The files of weights that were sent."""
    asked: list[str] = field(default_factory=list)
    """All files that were asked for, if only for what they are."""
    questions: list[str] = field(default_factory=list)
    """The paths of all that was asked for."""
    starts: list[int] = field(default_factory=list)
    """The bytes from which on they were asked for."""
    breaks_off: str | None = None
    """The repository and folder, in the middle of whose weights the connection breaks."""
    breaks: int | None = None
    """How often it does; None for each time."""
    damages: int = 0
    """How many files of weights arrive in another form than they were sent."""
    holds: str | None = None
    """The repository and folder, in the middle of whose weights the hub sends no more."""
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    pause: float = 0.0
    """Seconds between two blocks of 100 kB, for who wants to watch."""
    ignores_ranges: bool = False
    gated: bool = False
    gated_repos: set[str] = field(default_factory=set)
    refuses_token: bool = False

    def files(self, repo_id: str) -> dict[str, Path]:
        """Return the files of a repository by their names."""
        root = self.folder / repo_id.rpartition("/")[2]
        return {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()}

    def commit(self, request: web.Request) -> str:
        """Return the commit that is asked for; all have the same files."""
        revision = request.match_info.get("revision", "main")
        return self.newest if revision == "main" else revision

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note that something is asked for."""
        self.questions.append(request.path)
        return await handler(request)

    async def info(self, request: web.Request) -> web.Response:
        """Answer what a repository has, in its one revision."""
        repo_id = "{owner}/{name}".format(**request.match_info)
        files = self.files(repo_id)
        if not files:
            return web.json_response({}, status=404, headers={"X-Error-Code": "RepoNotFound"})
        siblings = [{"rfilename": n, **facts(f)} for n, f in files.items()]
        sha = self.commit(request)
        return web.json_response({"id": repo_id, "sha": sha, "siblings": siblings})

    async def auth_check(self, request: web.Request) -> web.Response:
        """Answer whether the token opens a repository."""
        if self.refuses_token:
            message = {"X-Error-Message": "Invalid credentials in Authorization header"}
            return web.json_response({}, status=401, headers=message)
        if self.is_gated(request):
            return web.json_response({}, status=403, headers={"X-Error-Code": "GatedRepo"})
        return await self.info(request)

    def is_gated(self, request: web.Request) -> bool:
        """Tell whether a repository is closed."""
        return self.gated or request.match_info["name"] in self.gated_repos

    async def tree(self, request: web.Request) -> web.Response:
        """List the files of a repository, or those below a folder."""
        below = request.match_info.get("folder", "")
        entries = [
            {"type": "file", "path": n, "oid": facts(f)["blobId"], "size": f.stat().st_size}
            for n, f in self.files("{owner}/{name}".format(**request.match_info)).items()
            if n.startswith(below)
        ]
        return web.json_response(entries)

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        """Send a file, or what comes from a byte on."""
        if self.is_gated(request):
            return web.json_response({}, status=403, headers={"X-Error-Code": "GatedRepo"})
        file = self.files("{owner}/{name}".format(**request.match_info)).get(
            request.match_info["file"]
        )
        self.asked.append(request.match_info["file"])
        if file is None:
            return web.Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        content, known = file.read_bytes(), facts(file)
        headers = {
            "ETag": f'"{known["lfs"]["sha256"] if "lfs" in known else known["blobId"]}"',
            "X-Repo-Commit": self.commit(request),
            "Accept-Ranges": "bytes",
        }
        start = 0 if self.ignores_ranges else request.http_range.start or 0
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        response.content_length = len(content) - start
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        if "lfs" in known:
            await self.send_weights(file, content, start, response, request)
        else:
            await response.write(content)
        await response.write_eof()
        return response

    async def send_weights(
        self,
        file: Path,
        content: bytes,
        start: int,
        response: web.StreamResponse,
        request: web.Request,
    ) -> None:
        """Send weights from a byte on, unless it is to go wrong."""
        name = str(file.parent.relative_to(self.folder))
        self.sent.append(name)
        self.starts.append(start)
        if self.damages:
            self.damages -= 1
            content = content[:-1] + bytes([content[-1] ^ 1])
        middle = start or len(content) // 2
        for place in range(start, len(content), BLOCK):
            if place >= middle and name == self.holds:
                self.holding.set()
                await self.closing.wait()
                return
            if place >= middle and name == self.breaks_off and self.breaks != 0:
                self.breaks = self.breaks and self.breaks - 1
                assert request.transport is not None
                request.transport.close()
                return
            await response.write(content[place : place + BLOCK])
            await asyncio.sleep(self.pause)


def facts(file: Path) -> dict[str, Any]:
    """Return what a hub tells of a file; it knows weights by another hash than what is in git."""
    content = file.read_bytes()
    blob_id = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    told: dict[str, Any] = {"size": len(content), "blobId": blob_id}
    if file.suffix == ".safetensors":
        sha256 = hashlib.sha256(content).hexdigest()
        told["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
    return told


@asynccontextmanager
async def serve_hub(folder: Path) -> AsyncIterator[Hub]:
    """Serve the repositories in a folder on a port of its own."""
    hub = Hub(folder=folder)
    app = web.Application(middlewares=[hub.note])
    app.router.add_get("/api/models/{owner}/{name}", hub.info)
    app.router.add_get("/api/models/{owner}/{name}/auth-check", hub.auth_check)
    app.router.add_get("/api/models/{owner}/{name}/revision/{revision}", hub.info)
    app.router.add_get("/api/models/{owner}/{name}/tree/{revision}", hub.tree)
    app.router.add_get("/api/models/{owner}/{name}/tree/{revision}/{folder:.*}", hub.tree)
    app.router.add_get("/{owner}/{name}/resolve/{revision}/{file:.*}", hub.resolve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    hub.url = f"http://{host}:{port}"
    try:
        yield hub
    finally:
        hub.closing.set()
        await runner.cleanup()
