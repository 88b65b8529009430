"""Hostile files in the worker process: a sentence each, little memory, and the next job works."""

from __future__ import annotations

import psutil
import pytest

from bot.errors import RequestError
from bot.inference import requests
from bot.inference.executor import LocalExecutor
from bot.inference.tools import FAMILIES
from bot.inference.types import Region, Request, Result
from tests.hostile import HOSTILE, encode, scene

TINY = FAMILIES["tiny"]
GB = 10**9


def asks(data: bytes) -> list[Request]:
    """Return a request of every tool for one file, and of `/fill` with it as the mask."""
    common = {"seed": 1, "steps": 1}
    worded = {"image": data, "prompt": "a red circle"} | common
    good = encode(scene(), "PNG")
    return [
        requests.fill(TINY, region=Region(area="centre"), **worded),
        requests.fill(TINY, mask=data, **worded | {"image": good}),
        requests.kontext(TINY, **worded),
        requests.depth(TINY, **worded),
        requests.canny(TINY, **worded),
        requests.redux(TINY, images={"image": good, "image2": data}, **common),
    ]


async def outcome(executor: LocalExecutor, request: Request) -> Result | RequestError:
    try:
        *_, last = [event async for event in executor.run(request)]
    except RequestError as error:
        return error
    assert isinstance(last, Result)
    return last


@pytest.mark.parametrize("name", HOSTILE)
async def test_the_worker_says_one_sentence_and_goes_on(executor: LocalExecutor, name: str) -> None:
    hostile = HOSTILE[name]
    await executor.ready()
    (worker,) = executor.process_ids
    for request in asks(hostile.data):
        ended = await outcome(executor, request)
        if not hostile.usable:
            assert isinstance(ended, RequestError), request.tool
        if isinstance(ended, RequestError):
            assert "\n" not in str(ended)
            assert "Traceback" not in str(ended)
            assert str(ended).count(". ") <= 1
        assert psutil.Process(worker).memory_info().rss < 1 * GB
    assert executor.process_ids == (worker,)
    assert isinstance(await outcome(executor, asks(encode(scene(), "PNG"))[3]), Result)
