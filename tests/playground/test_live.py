"""The page of the playground, spoken to as the browser does: it is live, and no click is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from bot.cogs._results import OFFERS, ROWS
from bot.config import Settings
from bot.inference.types import Progress
from bot.playground.live import LivePreview, PageNotServed, live_preview
from bot.playground.page_script import SCRIPT
from bot.playground.simulation import Simulation, simulation
from tests.cogs.messages import Attached, mask, photo
from tests.doubles import HeldExecutor

State = dict[str, Any]


class Browser:
    """The requests of one tab."""

    def __init__(self, session: aiohttp.ClientSession, page: LivePreview) -> None:
        self.page = page
        self._session = session
        key = page.url.partition("#")[2]
        self._headers = {"X-Simcord-Capability": key}
        self._actions = 0

    async def open(self) -> State:
        state = await self._request("POST", "/api/pages", json={})
        self._headers["X-Simcord-Context"] = state["context"]["id"]
        return state

    async def state(self) -> State:
        return await self._request("GET", "/api/state")

    async def until(self, reached: Callable[[State], bool]) -> State:
        async with asyncio.timeout(20):
            while not reached(state := await self.state()):
                await asyncio.sleep(0.05)
        return state

    async def act(
        self, kind: str, seen: State, files: Mapping[str, Attached] | None = None, **body: Any
    ) -> State:
        """Act on what the viewer saw, which may be out of date."""
        self._actions += 1
        action = {
            "protocol_version": 3,
            "kind": kind,
            "request_id": str(uuid4()),
            "sequence": self._actions,
            "generation": seen["context"]["generation"],
            "bot_generation": seen["botGeneration"],
            "published_revision": seen["publishedRevision"],
            **body,
        }
        if not files:
            return await self._request("POST", "/api/action", json=action)
        form = aiohttp.FormData({"payload": json.dumps(action)}, default_to_multipart=True)
        for option, (filename, content) in files.items():
            form.add_field(f"file:{option}", content, filename=filename)
        return await self._request("POST", "/api/action", data=form)

    async def generate(self, **options: str) -> State:
        return await self.run("generate", prompt="a red circle", **options)

    async def run(
        self, command: str, files: Mapping[str, Attached] | None = None, **options: str
    ) -> State:
        """Fill in the form of a slash command, its files included."""
        catalog = await self._request("GET", "/api/commands")
        (entry,) = (e for e in catalog["entries"] if e["path"] == [command])
        uploads = {option: {"upload": number} for number, option in enumerate(files or {})}
        return await self.act(
            "run_command",
            await self.state(),
            files,
            command_id=entry["commandId"],
            path=entry["path"],
            schema_fingerprint=entry["schemaFingerprint"],
            options={**options, **uploads},
        )

    async def click(self, seen: State, label: str = "Cancel") -> State:
        (button,) = (each for each in buttons(seen) if each["label"] == label)
        return await self.act(
            "click", seen, control_key=button["control_key"], target_id=message_id(seen)
        )

    async def _request(self, method: str, path: str, **arguments: Any) -> State:
        async with self._session.request(
            method, path, headers=self._headers, **arguments
        ) as response:
            response.raise_for_status()
            answer: State = await response.json()
            return answer


def message_id(state: State) -> str:
    last: str = state["timeline"][-1]
    return last


def message(state: State) -> Any:
    return state["messages"][message_id(state)]


def text(state: State) -> str:
    if not state["timeline"]:
        return ""
    embeds = message(state)["embeds"]
    return str(embeds[0].get("description")) if embeds else message(state)["content"]


def buttons(state: State) -> list[Any]:
    return [each for row in message(state)["components"] for each in row["components"]]


@asynccontextmanager
async def tab(room: Simulation) -> AsyncIterator[Browser]:
    async with live_preview(room, 0) as page:
        following = asyncio.create_task(page.follow())
        async with aiohttp.ClientSession(page.url.partition("#")[0]) as session:
            try:
                yield Browser(session, page)
            finally:
                following.cancel()


async def test_progress_and_picture_appear_by_themselves(settings: Settings) -> None:
    executor = HeldExecutor()
    async with simulation(settings, executor) as room, tab(room) as browser:
        await browser.open()
        await browser.generate()
        executor.events.put_nowait(Progress(stage="denoise", step=1, total=4, seconds=1.0))
        painting = await browser.until(lambda state: "Painting" in text(state))
        assert "1/4" in text(painting)
        await executor.let_finish(0)
        done = await browser.until(lambda state: bool(message(state)["attachments"]))
        assert [each["label"] for each in buttons(done)] == [
            offer.label for offer in OFFERS.values() if offer.row < ROWS
        ]


async def test_a_click_on_what_has_been_redrawn_since_counts(settings: Settings) -> None:
    executor = HeldExecutor()
    async with simulation(settings, executor) as room, tab(room) as browser:
        await browser.open()
        await browser.generate()
        seen = await browser.state()
        executor.events.put_nowait(Progress(stage="denoise", step=1, total=4, seconds=1.0))
        newer = await browser.until(lambda state: "Painting" in text(state))
        assert newer["publishedRevision"] > seen["publishedRevision"]
        receipt = await browser.click(seen)
        assert not receipt["rejected"]
        await browser.until(lambda state: "Cancelled" in text(state))
    assert executor.cancelled == executor.started


async def test_a_click_on_a_button_that_is_gone_is_refused(settings: Settings) -> None:
    executor = HeldExecutor()
    async with simulation(settings, executor) as room, tab(room) as browser:
        await browser.open()
        await browser.generate()
        seen = await browser.state()
        await executor.let_finish(0)
        await browser.until(lambda state: bool(message(state)["attachments"]))
        receipt = await browser.click(seen)
        assert receipt["rejected"]
        assert [each["code"] for each in receipt["diagnostics"]] == ["stale-revision"]


async def test_clicks_while_the_page_is_renewed_wait_their_turn(settings: Settings) -> None:
    executor = HeldExecutor()
    async with simulation(settings, executor) as room, tab(room) as browser:
        await browser.open()
        for _ in range(5):
            await browser.generate()
            renewals = asyncio.gather(*(browser.page.renew() for _ in range(3)))
            receipt = await browser.click(await browser.state())
            await renewals
            assert receipt["settlement"] == "settled"
            await browser.until(lambda state: "Cancelled" in text(state))


async def test_a_refusal_is_an_answer_and_no_failed_action(settings: Settings) -> None:
    async with simulation(settings, HeldExecutor()) as room, tab(room) as browser:
        await browser.open()
        receipt = await browser.generate(model="schnell", steps="13")
        assert receipt["settlement"] == "settled"
        assert not receipt["uncertain"]
        assert "from 1 to 12" in text(await browser.state())


async def test_a_form_with_files_leads_over_the_preview_of_the_mask_to_the_picture(
    settings: Settings,
) -> None:
    executor = HeldExecutor()
    async with simulation(settings, executor) as room, tab(room) as browser:
        await browser.open()
        receipt = await browser.run(
            "fill", {"image": photo(), "mask": mask()}, prompt="a star", left="25"
        )
        assert not receipt["rejected"]
        preview = await browser.until(lambda state: "The coloured part" in text(state))
        assert message(preview)["attachments"]
        await browser.click(preview, "Grow")
        grown = await browser.until(lambda state: "The mask is grown" in text(state))
        await browser.click(grown, "Paint it")
        await executor.let_finish(0)
        done = await browser.until(lambda state: "Job 1" in str(message(state)["embeds"]))
        assert [len(done["messages"][each]["attachments"]) for each in done["timeline"]] == [1, 1]
    assert executor.started[0].images == {"image": photo()[1], "mask": mask()[1]}


async def test_a_quote_ends_with_its_line_as_on_discord(settings: Settings) -> None:
    async with simulation(settings, HeldExecutor()) as room, tab(room) as browser:
        await browser.open()
        await browser.generate(sweep="seed 1 2")
        (embed,) = message(await browser.state())["embeds"]
        quote, below, *_ = embed["description_tokens"]
        assert quote["type"] == "blockquote"
        assert "a red circle" in str(quote)
        assert "Sweep" not in str(quote)
        assert "Sweep: seed 1, 2" in str(below)


async def test_a_page_is_as_quick_after_an_hour(settings: Settings) -> None:
    async with simulation(settings, HeldExecutor()) as room, tab(room) as browser:
        await browser.open()
        await browser.generate()
        backend: Any = room.env.backend
        backend.clock.advance(3600)
        async with asyncio.timeout(5):  # simcord waits for whatever timers the client has
            await browser.page.renew()
        assert not (await browser.click(await browser.state()))["rejected"]


async def test_a_page_opens_at_the_newest_answer(settings: Settings) -> None:
    executor = HeldExecutor()
    async with simulation(settings, executor) as room, tab(room) as browser:
        await browser.open()
        for _ in range(2):
            await browser.generate()
        state = await browser.until(lambda state: len(state["timeline"]) == 2)
        assert state["targetId"] == message_id(state)
        assert (await browser.open())["targetId"] == message_id(state)


async def test_the_script_of_the_page_has_what_is_added_to_it(settings: Settings) -> None:
    async with (
        simulation(settings, HeldExecutor()) as room,
        live_preview(room, 0) as page,
        aiohttp.ClientSession() as session,
        session.get(page.url.partition("#")[0] + "app.js") as response,
    ):
        script = await response.text()
    own, added = script.removesuffix(SCRIPT), script[-len(SCRIPT) :]
    assert added == SCRIPT
    # the names that the added lines rely on
    for name in (
        "const modal = createModal(",
        "const session = createSession(",
        "const timeline = initTimeline(",
        "const ui = {",
    ):
        assert name in own
    assert "timeline.ready();" in own
    assert "...modal.update(snapshot, {" in own


async def test_a_port_that_is_taken_is_one_sentence(settings: Settings) -> None:
    async with simulation(settings, HeldExecutor()) as room:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(PageNotServed, match=f"could not bind port {port}"):
                async with live_preview(room, port):
                    pass
