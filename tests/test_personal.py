"""What is kept about a member: counted, given whole, and gone without a trace."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import discord
import pytest

from bot.leavers import Leavers
from bot.personal import Files, Held
from bot.records import Look
from bot.retention import Retention
from bot.settings import DAY
from bot.storage import Storage
from bot.thumbnails import hidden
from tests.doubles import result_for
from tests.records import ALICE, AWAY, BOB, HOME, ORIGIN, PICTURES, REQUEST, made, queued

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


async def sweep(storage: Storage, *, days: float) -> None:
    """Sweep as it is done some days later."""
    client = discord.Client(intents=discord.Intents.none())

    def clock() -> float:
        return time.time() + days * DAY

    await Retention(storage, Leavers(client, storage, "keep", clock), None, clock).sweep()


async def live(storage: Storage, user_id: int = ALICE) -> None:
    """Leave every kind of trace in two servers and in direct messages."""
    await made(storage, user_id=user_id, request=PHOTO)
    await made(storage, user_id=user_id, guild_id=AWAY)
    await made(storage, user_id=user_id, guild_id=None, private=True)
    job = await queued(storage, user_id=user_id)
    await storage.finish_job(job.id, replace(result_for(REQUEST), control_image=b"its edges"))
    await queued(storage, user_id=user_id, request=PHOTO, token="the way to its message")
    await storage.drafts.add(PHOTO, replace(ORIGIN, user_id=user_id))
    await storage.settings.change(HOME, 0, {"private": True}, user_id=user_id)
    await storage.departures.note(AWAY, user_id, 5.0)
    await storage.history.note_post(job.id, PICTURES, user_id + 5)


async def test_a_member_of_whom_nothing_is_known_has_nothing(storage: Storage) -> None:
    await live(storage, BOB)
    summary = await storage.personal.summary(ALICE)
    assert (summary.held, summary.inputs, summary.drafts) == ((), 0, 0)
    assert (summary.usage, summary.changes) == (0, 0)
    assert await storage.personal.files(ALICE, hidden) == Files(paths=(), hidden=0)


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
        "posts": 1,
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
    files = await storage.personal.files(ALICE, hidden)
    contents = [file.read_bytes() for file in files.paths]
    assert sorted(contents) == sorted([*[b"picture 7"] * 4, b"its edges", b"a photo of the walrus"])


async def test_pictures_that_nobody_is_to_see_are_left_out_with_their_outline_and_counted(
    storage: Storage,
) -> None:
    request = replace(REQUEST, seed=20, count=3)
    for verdict in ("off", "blur", "withhold"):
        job = await queued(storage, request=request, look=Look(verdict=verdict))
        result = replace(result_for(request), control_image=verdict.encode())
        await storage.finish_job(job.id, replace(result, unsafe=(0.1, 0.9, 0.5)))
        request = replace(request, seed=request.seed + 10)
    files = await storage.personal.files(ALICE, hidden)
    assert sorted(file.read_bytes() for file in files.paths) == sorted(
        [*(b"picture %d" % seed for seed in (20, 21, 22, 30, 40)), b"off"]
    )
    assert files.hidden == 4


async def test_after_deletion_no_byte_of_the_member_is_in_any_file_but_for_a_days_use(
    storage: Storage, tmp_path: Path
) -> None:
    await live(storage)
    traces = [str(ALICE).encode(), ALICE.to_bytes(8, "big"), WORDS.encode(), b"picture 7"]
    traces += [b"its edges", b"a photo of the walrus", b"the way to its message"]
    assert all(trace in everything(tmp_path) for trace in traces)
    await storage.personal.delete(ALICE)
    left = everything(tmp_path)
    assert [trace for trace in traces if trace in left] == [ALICE.to_bytes(8, "big")]
    assert await storage.personal.jobs(ALICE) == []
    records = await storage.personal.records(ALICE)
    assert [table for table, rows in records.items() if rows] == ["user_id", "usage"]
    for _, message_id in await storage.disposal.messages():
        await storage.disposal.strike_message(message_id)
    await sweep(storage, days=1)
    left = everything(tmp_path)
    assert [trace for trace in traces if trace in left] == []


async def test_who_deletes_everything_has_used_as_much_as_before(storage: Storage) -> None:
    old, _ = [await made(storage) for _ in range(2)]
    now = time.time()
    await storage._database.change("UPDATE usage SET ended_at = ?, seconds = 5", now)
    await storage._database.change(
        "UPDATE usage SET ended_at = ? WHERE rowid = ?", now - DAY - 60, old.id
    )
    await storage.personal.delete(ALICE)
    assert await storage.usage(0, HOME, ALICE) == [(now, 5.0)]
    await sweep(storage, days=0.9)
    assert await storage.usage(0, HOME, ALICE) == [(now, 5.0)]
    await sweep(storage, days=1.1)
    assert await storage.usage(0, HOME, ALICE) == []
    assert len(await storage.usage(0, HOME)) == 2


async def test_a_sweep_forgets_nobody_who_did_not_ask_for_it(storage: Storage) -> None:
    await made(storage)
    await sweep(storage, days=2)
    assert len(await storage.usage(0, HOME, ALICE)) == 1


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
