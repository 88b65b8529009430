"""Hostile files in the worker process: a sentence each, little memory, and the next job works.

Hundreds of others, and as many as there is time for, are read where they are decoded alone.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bot.errors import RequestError
from bot.inference import requests
from bot.inference.executor import LocalExecutor
from bot.inference.previews import MaskPreviews
from bot.inference.tools import FAMILIES
from bot.inference.types import Region, Request, Result
from tests.hostile import HOSTILE, encode, scene
from tests.hostile_files import corpus
from tests.mutations import judge

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


async def test_hundreds_of_files_are_a_picture_or_a_sentence_in_one_process_that_goes_on() -> None:
    files = corpus()
    assert len(files) >= 200
    async with MaskPreviews() as previews:
        await previews.look(judge, encode(scene(), "PNG"))
        processes = previews.process_ids
        verdicts = {name: await previews.look(judge, each) for name, each in files.items()}
        assert previews.process_ids == processes
    assert sum(verdict[0].isdigit() for verdict in verdicts.values()) >= 100
    assert sum(verdict[0] == "`" for verdict in verdicts.values()) >= 100


@pytest.mark.timeout(300)
def test_whatever_is_changed_in_a_file_it_is_a_picture_or_a_sentence(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seconds = 90 if pytestconfig.getoption("--long") else 15
    last = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutations", str(seconds), str(last)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stderr}\nThe file was {last}."
    assert int(done.stdout.split()[0]) >= 200
