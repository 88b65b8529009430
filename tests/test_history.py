"""The history: who finds which jobs, page by page, and where pictures came from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import JobError
from bot.history import EVERYTHING, Page, Search, Sight
from bot.storage import Storage
from tests.doubles import result_for
from tests.records import ALICE, AWAY, BOB, HIDDEN, HOME, OTHER, PICTURES, REQUEST, made, queued

MINE = Sight(user_id=ALICE, guild_id=HOME)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with Storage.open(tmp_path / "data") as storage:
        yield storage


async def found(storage: Storage, sight: Sight, search: Search = EVERYTHING) -> list[int]:
    return numbers(await storage.history.page(sight, search, count=100))


def numbers(page: Page) -> list[int]:
    return [job.id for job in page.jobs]


async def test_a_member_sees_their_own_jobs_of_the_server_the_newest_first(
    storage: Storage,
) -> None:
    first = await made(storage)
    await made(storage, user_id=BOB)
    await made(storage, guild_id=AWAY)
    await made(storage, guild_id=None, private=True)
    last = await made(storage, private=True, channel_id=OTHER)
    assert await found(storage, MINE) == [last.id, first.id]


async def test_in_direct_messages_it_is_all_of_ones_own(storage: Storage) -> None:
    mine = [
        await made(storage),
        await made(storage, guild_id=AWAY),
        await made(storage, guild_id=None, private=True),
    ]
    await made(storage, user_id=BOB)
    await made(storage, user_id=BOB, guild_id=None)
    seen = await found(storage, Sight(user_id=ALICE, guild_id=None))
    assert seen == [job.id for job in reversed(mine)]


async def test_who_sees_channels_sees_what_is_public_there_and_nothing_else(
    storage: Storage,
) -> None:
    own = await made(storage, private=True, channel_id=HIDDEN)
    public = await made(storage, user_id=BOB)
    await made(storage, user_id=BOB, private=True)
    await made(storage, user_id=BOB, channel_id=HIDDEN)
    await made(storage, user_id=BOB, guild_id=AWAY)
    await made(storage, user_id=BOB, guild_id=None)
    sight = replace(MINE, channel_ids=frozenset({PICTURES, OTHER}))
    assert await found(storage, sight) == [public.id, own.id]


async def test_one_job_is_found_by_those_alone_who_have_it_in_sight(storage: Storage) -> None:
    job = await made(storage, user_id=BOB, private=True)
    moderates = replace(MINE, channel_ids=frozenset({PICTURES}))
    sights = [
        MINE,
        moderates,
        Sight(user_id=BOB, guild_id=AWAY),
        Sight(user_id=ALICE, guild_id=None),
    ]
    for sight in sights:
        with pytest.raises(JobError, match="not in your history here"):
            await storage.history.find(sight, job.id)
    assert await storage.history.find(Sight(user_id=BOB, guild_id=HOME), job.id) == job


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("A Red CAT", "red cat"),
        ("Ein ÄPFELBAUM", "äpfel"),
        ("eine Straße", "STRASSE"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
        ("100 % wool", "0 %"),
        ("snake_case", "e_c"),
        ("a back\\slash", "k\\s"),
        ('it\'s "quoted"', "'s \""),
        ("a 🐈", "🐈"),
    ],
)
async def test_text_is_found_in_either_case_and_letter_by_letter(
    storage: Storage, prompt: str, text: str
) -> None:
    job = await made(storage, request=replace(REQUEST, prompt=prompt))
    await made(storage, request=replace(REQUEST, prompt="1000 wool snakeXcase backslash"))
    assert await found(storage, MINE, Search(text=text)) == [job.id]


async def test_filters_are_all_met_at_once(storage: Storage) -> None:
    dev = replace(REQUEST, tool="dev")
    job = await made(storage, request=dev)
    await made(storage)
    await made(storage, request=dev, channel_id=OTHER)
    await made(storage, request=replace(dev, prompt="a dog"))
    search = Search(tool="dev", text="cat", channel_id=PICTURES)
    assert await found(storage, MINE, search) == [job.id]


async def test_pages_lead_on_and_back_without_gaps(storage: Storage) -> None:
    ids = [(await made(storage)).id for _ in range(7)][::-1]
    first = await storage.history.page(MINE, count=3)
    assert (numbers(first), first.has_newer, first.has_older) == (ids[:3], False, True)
    second = await storage.history.page(MINE, start=ids[3], count=3)
    assert (numbers(second), second.has_newer, second.has_older) == (ids[3:6], True, True)
    third = await storage.history.page(MINE, start=ids[6], count=3)
    assert (numbers(third), third.has_newer, third.has_older) == (ids[6:], True, False)
    back = await storage.history.page_before(MINE, EVERYTHING, start=ids[6], count=3)
    assert numbers(back) == ids[3:6]


async def test_back_to_what_is_less_than_a_page_is_the_first_page(storage: Storage) -> None:
    ids = [(await made(storage)).id for _ in range(4)][::-1]
    back = await storage.history.page_before(MINE, EVERYTHING, start=ids[1], count=3)
    assert (numbers(back), back.has_newer) == (ids[:3], False)


async def test_a_job_is_known_by_its_message(storage: Storage) -> None:
    job = await made(storage, message_id=77)
    assert await storage.history.of_message(77) == job
    assert await storage.history.of_message(78) is None


async def test_a_message_of_a_job_that_was_deleted_meanwhile_is_deleted_too(
    storage: Storage,
) -> None:
    job = await made(storage)
    await storage.history.note_post(job.id, OTHER, 8)
    assert await storage.disposal.messages() == []
    await storage.disposal.delete_expired(HOME, 1e12)
    await storage.history.note_post(job.id, OTHER, 9)
    assert await storage.disposal.messages() == [(OTHER, 9)]


async def test_the_chain_of_parents_goes_back_to_the_first_picture(storage: Storage) -> None:
    grandparent = await made(storage)
    (picture,) = (await storage.result(grandparent)).images
    edit = replace(REQUEST, tool="kontext", seed=8, images={"image": picture})
    parent = await made(storage, request=edit)
    (edited,) = (await storage.result(parent)).images
    child = await made(storage, request=replace(edit, images={"image": edited}))
    chain = await storage.history.ancestors(child.id)
    assert [job.id for job in chain] == [parent.id, grandparent.id]
    assert await storage.history.children(grandparent.id) == 1
    assert await storage.history.children(child.id) == 0


async def test_a_loop_of_parents_comes_to_an_end(storage: Storage) -> None:
    jobs = [await made(storage) for _ in range(3)]
    for child, parent in zip(jobs, jobs[1:] + jobs[:1], strict=True):
        sql = "INSERT INTO parents VALUES (?, ?)"
        await storage._database.change(sql, child.id, parent.id)
    assert len(await storage.history.ancestors(jobs[0].id)) == 3


async def test_pictures_are_kept_from_when_they_are_made_until_their_files_go(
    storage: Storage,
) -> None:
    job = await queued(storage)
    assert not await storage.history.has_pictures(job.id)
    await storage.finish_job(job.id, result_for(job.request))
    await storage.mark_delivered(job.id)
    assert await storage.history.has_pictures(job.id)
    await storage.disposal.delete_files(0)
    assert not await storage.history.has_pictures(job.id)


async def test_servers_and_members_with_data_are_known(storage: Storage) -> None:
    await made(storage)
    await made(storage)
    await made(storage, user_id=BOB)
    await made(storage, user_id=BOB, guild_id=None)
    await storage.settings.change(AWAY, 0, {"keep_days": 3}, user_id=BOB)
    assert await storage.history.guild_ids() == [HOME, AWAY]
    assert await storage.history.member_count() == 2
    assert await storage.history.members(start=1, count=5) == [(HOME, BOB)]
