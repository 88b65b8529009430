"""simcord's preview made live: its page shows what the bot does by itself, and no click is lost.

The browser asks for the state of its page every half second. The preview by itself renews a state
only after an action of the viewer, and refuses an action on a state that has been renewed since.
It has no hooks for any of this, so private methods are wrapped here: the version is pinned.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from discord import app_commands

from bot.errors import BotError
from bot.playground.page_script import SCRIPT
from bot.playground.simulation import Simulation

if TYPE_CHECKING:
    from aiohttp import web
    from simcord import Env

_log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2

# The client's timers, such as the end of a view, run only while simcord settles.
SETTLE_SECONDS = 5.0

# a line of a quote, and behind it one that is not of it
QUOTE_THEN_TEXT = re.compile(r"^( {0,3}>.*\n)(?! {0,3}>|[ \t]*$)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class _Controls:
    """The buttons and menus of a message, and the revision of the page that first showed them."""

    components: list[dict[str, Any]]
    revision: int


class PageNotServed(BotError):
    """The page's port is taken, or a package that it needs is missing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)

    def __str__(self) -> str:
        return f"The playground's page cannot be served: {self.args[0]}."


@asynccontextmanager
async def live_preview(room: Simulation, port: int) -> AsyncIterator[LivePreview]:
    """Serve the page of a simulation; on port 0 on any port that is free."""
    from simcord import SetupError

    try:
        preview = room.env.preview(
            room.channel, viewers=[room.owner, room.guest], layout="channel", port=port
        )
        live = LivePreview(room.env, preview)
        await preview.__aenter__()
    except SetupError as error:
        raise PageNotServed(str(error).removesuffix(".")) from error
    try:
        yield live
    finally:
        await preview.close()


class LivePreview:
    """Renews the pages of a preview, which is not entered yet, whenever the bot did something."""

    def __init__(self, env: Env, preview: Any) -> None:
        self._env = env
        self._preview = preview
        self._turn = asyncio.Lock()
        self._controls: dict[str, dict[str, _Controls]] = {}
        self._newest: dict[str, int | None] = {}

        self._act, preview._action = preview._action, self._act_in_turn
        self._publish, preview._publish = preview._publish, self._publish_and_note
        server = preview._server
        self._static, server._static = server._static, self._static_with_script
        preview._media_worker = _quick_media_worker()
        _take_refusals_for_answers(env)
        _end_quotes_with_their_lines()

    @property
    def url(self) -> str:
        """The address of the page, with the key to it: whoever knows it can use the playground."""
        url: str = self._preview.url
        return url

    async def follow(self) -> None:
        """Keep every open page up to date until the viewer ends the preview."""
        seen, settled = 0, time.perf_counter()
        while not self._preview._closed:
            requests, now = len(self._env.http_requests), time.perf_counter()
            if requests != seen:
                await self.renew()
                seen, settled = requests, now
            elif now - settled > SETTLE_SECONDS:
                await self._in_turn(self._env.settle)
                settled = now
            await asyncio.sleep(LOOK_SECONDS)
        await self._preview.wait_closed()

    async def renew(self) -> None:
        """Show on every open page what the bot has done so far."""
        await self._in_turn(self._preview.refresh)

    async def _in_turn(self, operation: Callable[[], Awaitable[None]]) -> None:
        async with self._turn:
            if self._preview._closed:
                return
            try:
                await operation()
            except TimeoutError as error:
                _log.warning("the page is not up to date: %s", error)

    async def _act_in_turn(self, page_id: str | None, body: Any) -> dict[str, Any]:
        # an action during a refresh would be an error, after which the page takes no more actions
        async with self._turn:
            result: dict[str, Any] = await self._act(page_id, self._up_to_date(page_id, body))
            return result

    def _up_to_date(self, page_id: str | None, body: Any) -> Any:
        """Let an action on an earlier state pass, if what it acts on has not changed since."""
        page = self._preview._pages.get(page_id)
        if page is None or not isinstance(body, Mapping):
            return body
        controls = self._controls[page.id].get(str(body.get("target_id")))
        seen = body.get("published_revision")
        if controls is not None and isinstance(seen, int) and seen < controls.revision:
            return body
        return {**body, "published_revision": page.revision}

    def _publish_and_note(self, page: Any, **reason: Any) -> None:
        """Publish a page, scrolled to the newest answer, and note when its controls changed."""
        newest = self._preview._initial_target(page.viewer, page.channel_id)
        if page.window_end_id is None and self._newest.get(page.id) != newest:
            self._newest[page.id] = page.target_id = newest
        self._publish(page, **reason)
        known = self._controls.get(page.id, {})
        noted = self._controls[page.id] = {}
        for message_id, message in page.snapshot["messages"].items():
            controls = known.get(message_id)
            if controls is None or controls.components != message["components"]:
                controls = _Controls(components=message["components"], revision=page.revision)
            noted[message_id] = controls

    async def _static_with_script(self, request: web.Request) -> web.Response:
        response: web.Response = await self._static(request)
        if request.path == "/app.js":
            response.text = f"{response.text}{SCRIPT}"
        return response


def _take_refusals_for_answers(env: Any) -> None:
    """Keep simcord from calling an action uncertain that the bot has refused with a sentence."""
    record = env._record_error

    def record_defect(error: BaseException) -> None:
        cause = getattr(error, "original", error)
        if not isinstance(cause, BotError | app_commands.CheckFailure):
            record(error)

    env._record_error = record_defect


@cache  # once for all previews of a process
def _end_quotes_with_their_lines() -> None:
    """Keep simcord from drawing the line after a quote as a part of it, as Markdown has it."""
    from simcord.preview import _markdown

    markdown: Any = _markdown
    expanded = markdown._discord_multiline_quotes

    def ended(text: str) -> str:
        return QUOTE_THEN_TEXT.sub(r"\1\n", expanded(text))

    markdown._discord_multiline_quotes = ended


def _quick_media_worker() -> Any:
    """A worker that reads a picture once; simcord starts a process for it, in each tab anew."""
    from simcord.preview._media import MediaInfo, MediaWorker, _process_media

    worker: Any = MediaWorker()
    read: dict[str, MediaInfo] = {}

    async def validate(key: str, blob: bytes, *, media_time: float | None = None) -> MediaInfo:
        if key not in read:
            info = await asyncio.to_thread(_process_media, blob, media_time)
            # or the page warns of a process without one; the bot's own pictures need none
            read[key] = replace(info, memory_limited=True)
        return read[key]

    worker.validate = validate
    return worker
