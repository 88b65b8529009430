"""Fixtures: the real client on a simulated Discord, and one worker process with the tiny models.

simcord waits for whatever the bot's own tasks do, and its clocks stand still. So the queue's task
is created here, outside of the bot's scope but with simcord's web hook adapter in its context.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord
from PIL import Image

from bot.application import Application, application, worker_options
from bot.config import Settings
from bot.inference.executor import Executor, LocalExecutor
from bot.inference.finder import MaskFinder
from bot.inference.previews import MaskPreviews
from tests.catalogues import catalogues as catalogues

# As in the worker: several processes compute here, and must not wait for each other by spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Each of them with one thread: for models as tiny as these, more only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The GPU's kernels are tried on the CPU, also before anything imports Triton.
os.environ["TRITON_INTERPRET"] = "1"
# No test may reach out, not even by a defect: what is not in a local folder is not there.
os.environ["HF_HUB_OFFLINE"] = "1"

LONGEST = (
    "tests/wire/test_chaos.py",
    "tests/inference/test_prepare.py",
    "tests/inference/test_tiny_tools.py",
    "tests/wire/test_run.py",
    "tests/inference/test_executor.py",
    "tests/cogs/test_results.py",
    "tests/inference/test_tiny_family.py",
    "tests/wire/test_faults.py",
    "tests/cogs/test_tools.py",
    "tests/inference/test_finder.py",
)
"""Files that begin first, so that no process is left alone with one of them in the end: what waits
and what computes in turn."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let who has the time ask for more."""
    parser.addoption(
        "--long",
        action="store_true",
        help="kill the bot a thousand times, not thirty; install what is in the image anew",
    )
    parser.addoption(
        "--write-reliability",
        action="store_true",
        help="write docs/reliability.md from the scenarios that pass",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest in front of the others."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over all that is imported by now: it looks often."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let what was imported be looked at in the end: Triton counts what is left of it."""
    gc.unfreeze()


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A server with a channel, a member, a moderator and the bot."""

    app: Application
    env: simcord.Env
    channel: simcord.ChannelHandle
    alice: simcord.MemberActor
    bob: simcord.MemberActor
    moderator: simcord.MemberActor
    work: asyncio.Task[None]

    async def generate(self, **options: Any) -> simcord.ResponseMessage:
        """Send `/generate` as Alice, wait until the queue is empty and return the bot's message."""
        message = await self.begin(**options)
        await self.app.jobs.idle()
        return message

    async def begin(self, **options: Any) -> simcord.ResponseMessage:
        """Send `/generate` as Alice and return the bot's message as soon as it is queued."""
        options.setdefault("prompt", "a large red circle on a blue background")
        result = await self.alice.slash(self.channel, "generate", **options)
        assert result.response is not None
        return result.response

    async def refused(self, **options: Any) -> str:
        """Send `/generate` as Alice and return the private sentence that refuses it."""
        message = await self.begin(**options)
        assert message.ephemeral
        assert not message.embeds
        assert self.env.errors  # simcord wants errors to be looked at, handled ones too
        return message.content

    async def click_at_once(
        self,
        message: simcord.ResponseMessage,
        *labels: str,
        members: Sequence[simcord.MemberActor] = (),
    ) -> None:
        """Click buttons, the next one before the bot has done anything about the last.

        Alice does so, if no members are named, one for each button.
        """
        actors = members or [self.alice] * len(labels)
        settle = self.env._settle_internal

        async def go_on(*_: Any, **__: Any) -> None:
            """Do not wait, as simcord does after each click."""

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.env, "_settle_internal", go_on)
            for actor, label in zip(actors[:-1], labels[:-1], strict=True):
                await actor.click(message, label=label)
            patch.setattr(self.env, "_settle_internal", settle)
            await actors[-1].click(message, label=labels[-1])


@asynccontextmanager
async def open_scene(
    settings: Settings,
    executor: Executor,
    finder: MaskFinder | None = None,
    previews: MaskPreviews | None = None,
) -> AsyncIterator[Scene]:
    """Start the bot on a simulated server, and fail if it leaves an error that nobody looked at."""
    async with application(settings, executor, finder, previews) as app:
        # not simcord.run: its end must come in the context of its start, a fixture's does not
        env = simcord.Env(app.client, settle_timeout=30.0, shard_count=1)
        await env.start()
        try:
            guild = env.create_guild()
            role = guild.create_role(
                "moderators", permissions=discord.Permissions(manage_messages=True)
            )
            async with _working(app, env) as work:
                yield Scene(
                    app=app,
                    work=work,
                    env=env,
                    channel=guild.create_text_channel("pictures"),
                    alice=guild.add_member(env.create_user("alice")),
                    bob=guild.add_member(env.create_user("bob")),
                    moderator=guild.add_member(env.create_user("mod"), roles=[role]),
                )
        finally:
            await env.shutdown()
        env._raise_errors_since(env._errors_acknowledged)


@asynccontextmanager
async def restarted(scene: Scene, settings: Settings, executor: Executor) -> AsyncIterator[Scene]:
    """Put another process of the bot, on the same data folder, in the place of a scene's."""
    scene.work.cancel()
    await asyncio.wait({scene.work})
    client = scene.app.client
    async with application(settings, executor, client.finder, client.previews) as app:
        await scene.env.restart_bot(app.client)
        async with _working(app, scene.env) as work:
            yield replace(scene, app=app, work=work)


@asynccontextmanager
async def _working(app: Application, env: simcord.Env) -> AsyncIterator[asyncio.Task[None]]:
    with env.time_context():
        work = asyncio.create_task(app.work())
    try:
        yield work
        await app.jobs.stop(grace=0)
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with the tiny models and a data folder of the test's own."""
    return Settings(flux_models="tiny", data_dir=tmp_path / "data", device=("cpu",))


@pytest.fixture(scope="session")
async def executor() -> AsyncIterator[LocalExecutor]:
    """One worker process with the tiny models, shared by all tests."""
    options = worker_options(Settings(flux_models="tiny", device=("cpu",), log_level="WARNING"))
    async with LocalExecutor([options]) as executor:
        yield executor


@pytest.fixture(scope="session")
async def finder() -> AsyncIterator[MaskFinder]:
    """What finds words in pictures, with the tiny model, shared by all tests; it starts late."""
    async with MaskFinder(worker_options(Settings(flux_models="tiny"))) as finder:
        yield finder


@pytest.fixture(scope="session")
async def previews() -> AsyncIterator[MaskPreviews]:
    """What draws masks and reads files of members, shared by all tests."""
    async with MaskPreviews() as previews:
        yield previews


@pytest.fixture
async def scene(
    settings: Settings, executor: LocalExecutor, finder: MaskFinder, previews: MaskPreviews
) -> AsyncIterator[Scene]:
    """The bot on a simulated server, with the real tiny models."""
    async with open_scene(settings, executor, finder, previews) as scene:
        yield scene


def picture(content: bytes) -> Image.Image:
    """Decode a picture."""
    return Image.open(io.BytesIO(content)).convert("RGB")
