"""What is kept about a member: counted, given whole, and gone without a trace."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.personal import Held
from bot.storage import Storage
from tests.doubles import result_for
from tests.records import ALICE, AWAY, BOB, HOME, ORIGIN, REQUEST, made, queued

WORDS = "a walrus in the moonlight"
PHOTO = replace(REQUEST, tool="kontext", prompt=WORDS, images={"image": b"a photo of the walrus"})


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with Storage.open(tmp_path) as storage:
        yield storage


def everything(folder: Path) -> bytes:
    """Return the bytes of all files of a data folder, with their names."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return b"".join(file.name.encode() + file.read_bytes() for file in files)


async def live(storage: Storage, user_id: int = ALICE) -> None:
    """Leave every kind of trace in two servers and in direct messages."""
    await made(storage, user_id=user_id, request=PHOTO)
    await made(storage, user_id=user_id, guild_id=AWAY)
    await made(storage, user_id=user_id, guild_id=None, private=True)
    job = await queued(storage, user_id=user_id)
    await storage.finish_job(job.id, replace(result_for(REQUEST), control_image=b"its edges"))
    await queued(storage, user_id=user_id, request=PHOTO, token="the way to its message")
    await storage.add_draft(PHOTO, replace(ORIGIN, user_id=user_id))
    await storage.settings.change(HOME, 0, {"private": True}, user_id=user_id)
    await storage.departures.note(AWAY, user_id, 5.0)


async def test_a_member_of_whom_nothing_is_known_has_nothing(storage: Storage) -> None:
    await live(storage, BOB)
    summary = await storage.personal.summary(ALICE)
    assert (summary.held, summary.inputs, summary.drafts) == ((), 0, 0)
    assert (summary.usage, summary.changes) == (0, 0)
    assert await storage.personal.files(ALICE) == []


async def test_all_kinds_are_counted_by_server(storage: Storage) -> None:
    await live(storage)
    await live(storage, BOB)
    summary = await storage.personal.summary(ALICE)
    size = len(b"picture 7")
    assert [(h.guild_id, h.jobs, h.pictures, h.bytes) for h in summary.held] == [
        (None, 1, 1, size),
        (HOME, 3, 2, 2 * size),
        (AWAY, 1, 1, size),
    ]
    assert isinstance(summary.held[0], Held)
    assert (summary.inputs, summary.input_bytes) == (1, len(b"a photo of the walrus"))
    assert (summary.drafts, summary.usage, summary.changes) == (1, 3, 1)


async def test_the_records_say_everything_but_what_is_secret(storage: Storage) -> None:
    await live(storage)
    await live(storage, BOB)
    text = json.dumps(await storage.personal.records(ALICE), ensure_ascii=False)
    records = json.loads(text)
    assert {name: len(each) for name, each in records.items() if isinstance(each, list)} == {
        "jobs": 5,
        "pictures": 4,
        "attached images": 2,
        "drafts": 1,
        "usage": 3,
        "settings_log": 1,
        "departures": 1,
    }
    assert records["jobs"][0]["request"]["prompt"] == WORDS
    assert records["drafts"][0]["request"]["prompt"] == WORDS
    assert "token" not in text
    assert str(BOB) not in text


async def test_the_files_are_ones_own_pictures_and_what_one_attached(storage: Storage) -> None:
    await live(storage)
    await made(storage, user_id=BOB, request=replace(REQUEST, seed=9))
    contents = [file.read_bytes() for file in await storage.personal.files(ALICE)]
    assert sorted(contents) == sorted([*[b"picture 7"] * 4, b"its edges", b"a photo of the walrus"])


async def test_after_deletion_no_byte_of_the_member_is_in_any_file(
    storage: Storage, tmp_path: Path
) -> None:
    await live(storage)
    traces = [str(ALICE).encode(), ALICE.to_bytes(8, "big"), WORDS.encode(), b"picture 7"]
    traces += [b"its edges", b"a photo of the walrus", b"the way to its message"]
    assert all(trace in everything(tmp_path) for trace in traces)
    await storage.personal.delete(ALICE)
    left = everything(tmp_path)
    assert [trace for trace in traces if trace in left] == []
    assert await storage.personal.jobs(ALICE) == []


async def test_what_counts_for_a_server_stays_without_the_member_and_others_stay_whole(
    storage: Storage,
) -> None:
    await live(storage)
    await live(storage, BOB)
    before = await storage.personal.records(BOB)
    used = await storage.usage(0, HOME)
    await storage.personal.delete(ALICE)
    assert await storage.personal.records(BOB) == before
    assert await storage.usage(0, HOME) == used
    assert [change.user_id for change in await storage.settings.log(HOME, count=9)] == [0]
    for job in await storage.personal.jobs(BOB):
        await storage.inputs(job.id)
