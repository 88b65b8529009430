"""A hub on 127.0.0.1 that serves the tiny models under the ids of the full ones."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(kw_only=True)
class Hub:
    """What is served, what was asked for, and what is to go wrong."""

    folder: Path
    url: str = ""
    sent: list[str] = field(default_factory=list)
    """The files of weights that were sent."""
    breaks_off: str | None = None
    """The repository and folder, in the middle of whose weights the connection breaks."""
    gated: bool = False
    refuses_token: bool = False

    def files(self, repo_id: str) -> dict[str, Path]:
        """Return the files of a repository by their names."""
        root = self.folder / repo_id.rpartition("/")[2]
        return {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()}

    async def info(self, request: web.Request) -> web.Response:
        """Answer what a repository has, in its one revision."""
        repo_id = "{owner}/{name}".format(**request.match_info)
        files = self.files(repo_id)
        if not files:
            return web.json_response({}, status=404, headers={"X-Error-Code": "RepoNotFound"})
        siblings = [{"rfilename": n, "size": f.stat().st_size} for n, f in files.items()]
        return web.json_response({"id": repo_id, "sha": COMMIT, "siblings": siblings})

    async def auth_check(self, request: web.Request) -> web.Response:
        """Answer whether the token opens a repository."""
        if self.refuses_token:
            message = {"X-Error-Message": "Invalid credentials in Authorization header"}
            return web.json_response({}, status=401, headers=message)
        if self.gated:
            return web.json_response({}, status=403, headers={"X-Error-Code": "GatedRepo"})
        return await self.info(request)

    async def tree(self, request: web.Request) -> web.Response:
        """List the files of a repository, or those below a folder."""
        below = request.match_info.get("folder", "")
        entries = [
            {"type": "file", "path": n, "size": f.stat().st_size, "oid": COMMIT}
            for n, f in self.files("{owner}/{name}".format(**request.match_info)).items()
            if n.startswith(below)
        ]
        return web.json_response(entries)

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        """Send a file, or a part of it."""
        if self.gated:
            return web.json_response({}, status=403, headers={"X-Error-Code": "GatedRepo"})
        file = self.files("{owner}/{name}".format(**request.match_info)).get(
            request.match_info["file"]
        )
        if file is None:
            return web.Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        content = file.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        start = request.http_range.start or 0
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        response.content_length = len(content) - start
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        if file.suffix == ".safetensors":
            self.sent.append(str(file.parent.relative_to(self.folder)))
        if self.sent and self.sent[-1] == self.breaks_off:
            await response.write(content[start : start + 100_000])
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(content[start:])
        await response.write_eof()
        return response


@asynccontextmanager
async def serve_hub(folder: Path) -> AsyncIterator[Hub]:
    """Serve the repositories in a folder on a port of its own."""
    hub = Hub(folder=folder)
    app = web.Application()
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
        await runner.cleanup()
