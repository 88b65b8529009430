"""A job whose member has left the server is not painted, as far as Discord says so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.config import Settings
from bot.inference.previews import MaskPreviews
from tests.conftest import Scene, open_scene
from tests.doubles import HeldExecutor

MEMBERS = "/guilds/*/members/*"


@pytest.fixture
def held() -> HeldExecutor:
    return HeldExecutor()


@pytest.fixture
async def scene(
    settings: Settings,
    held: HeldExecutor,
    previews: MaskPreviews,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Scene]:
    """The bot on a simulated server, which takes any wait for a long one."""
    monkeypatch.setattr("bot.membership.PATIENCE", -1.0)
    async with open_scene(settings, held, previews=previews) as scene:
        yield scene


def leave(scene: Scene) -> None:
    scene.env.backend.remove_member(scene.alice.guild.id, scene.alice.id)


async def state(scene: Scene, number: int) -> str:
    return (await scene.app.storage.job(number)).state


async def test_a_job_of_a_member_who_left_is_not_painted(scene: Scene, held: HeldExecutor) -> None:
    await scene.begin(seed=1)
    await held.is_busy()
    message = await scene.begin(seed=2)
    leave(scene)
    await held.let_finish(0)
    await scene.app.jobs.idle()
    assert [request.seed for request in held.started] == [1]
    assert (message.embeds[0].description or "").endswith("Its member has left the server.")
    assert [await state(scene, number) for number in (1, 2)] == ["delivered", "cancelled"]


@pytest.mark.parametrize(("status", "code"), [(403, 50001), (404, 10004), (404, 0), (503, 0)])
async def test_where_discord_does_not_say_that_somebody_left_the_job_is_painted(
    scene: Scene, held: HeldExecutor, status: int, code: int
) -> None:
    scene.env.inject_error("GET", MEMBERS, status=status, code=code, times=None)
    message = await scene.begin()
    await held.let_finish(0)
    await scene.app.jobs.idle()
    assert len(message.attachments) == 1


async def test_nobody_is_asked_after_in_direct_messages(scene: Scene, held: HeldExecutor) -> None:
    await scene.alice.user.slash("generate", prompt="a red circle")
    await held.let_finish(0)
    await scene.app.jobs.idle()
    assert not [r for r in scene.env.http_requests if "/members/" in r.path]
    assert await state(scene, 1) == "delivered"
