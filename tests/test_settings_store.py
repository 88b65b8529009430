"""What servers have set: kept, found without a query, logged, and moved from server to server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.database import Database
from bot.errors import RequestError, StorageError
from bot.settings import DEFAULTS, KEYS
from bot.settings_store import MOST_CHANNELS, WHOLE_SERVER, Change, SettingsStore

GUILD, OTHER_GUILD = 1000000000000001, 1000000000000002
CATEGORY, CHANNEL, OTHER_CHANNEL = 2000000000000001, 2000000000000002, 2000000000000003
ALICE, BOB = 3000000000000001, 3000000000000002


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path) as database:
        yield database


@pytest.fixture
def store(database: Database) -> SettingsStore:
    return SettingsStore(database)


async def put(store: SettingsStore, channel: int = WHOLE_SERVER, **values: Any) -> list[Change]:
    """Set some as Alice, in the first server or a channel of it."""
    return await store.change(GUILD, channel, values, user_id=ALICE)


async def test_what_is_set_holds_in_that_server_alone_and_after_a_restart(
    store: SettingsStore, database: Database
) -> None:
    assert await store.at(GUILD) == DEFAULTS
    await put(store, max_steps=20, blocked_words=["foo", "bar"])
    for each in (store, SettingsStore(database)):
        here = await each.at(GUILD)
        assert (here.max_steps, here.blocked_words) == (20, ("foo", "bar"))
        assert await each.at(OTHER_GUILD) == DEFAULTS
        assert await each.at(None) == DEFAULTS


async def test_the_nearest_setting_wins_and_what_it_leaves_open_comes_from_further_out(
    store: SettingsStore,
) -> None:
    await put(store, max_steps=40, max_count=3, file_format="WebP")
    await put(store, CATEGORY, max_steps=30, max_count=2)
    await put(store, CHANNEL, max_steps=20)
    assert (await store.at(GUILD)).max_steps == 40
    inside = await store.at(GUILD, CATEGORY, CHANNEL)
    assert (inside.max_steps, inside.max_count, inside.file_format) == (20, 2, "WebP")
    assert (await store.at(GUILD, CATEGORY, OTHER_CHANNEL)).max_steps == 30
    assert await store.overrides(GUILD, CHANNEL) == {"max_steps": 20}
    assert sorted(await store.channels(GUILD)) == [CATEGORY, CHANNEL]


async def test_a_value_that_is_taken_back_is_as_if_it_never_was(store: SettingsStore) -> None:
    await put(store, max_steps=20, max_count=2)
    (change,) = await put(store, max_steps=None)
    assert (change.old, change.new) == (20, None)
    assert await store.overrides(GUILD) == {"max_count": 2}
    await put(store, CHANNEL, max_count=1)
    assert [change.key for change in await store.reset(GUILD, WHOLE_SERVER, user_id=BOB)] == [
        "max_count"
    ]
    assert await store.at(GUILD) == DEFAULTS
    assert (await store.at(GUILD, CHANNEL)).max_count == 1


async def test_what_is_set_as_it_was_already_is_no_change(store: SettingsStore) -> None:
    assert len(await put(store, max_steps=20)) == 1
    assert await put(store, max_steps=20, max_count=None) == []
    assert len(await store.log(GUILD, count=9)) == 1


@pytest.mark.parametrize(
    ("channel", "values", "says"),
    [
        (WHOLE_SERVER, {"max_stepz": 20}, "There is no setting `max_stepz`."),
        (WHOLE_SERVER, {"max_steps": 51}, "`max_steps`: `51` is not a value for this."),
        (WHOLE_SERVER, {"max_steps": "20"}, "`max_steps`: `20` is not a value for this."),
        (WHOLE_SERVER, {"private": 1}, "`private`: `1` is not a value for this."),
        (CHANNEL, {"keep_days": 3}, "`keep_days` holds for the whole server."),
    ],
)
async def test_what_is_wrong_is_not_set_and_nothing_else_with_it(
    store: SettingsStore, channel: int, values: dict[str, Any], says: str
) -> None:
    with pytest.raises(RequestError) as refused:
        await store.change(GUILD, channel, {"max_count": 2} | values, user_id=ALICE)
    assert str(refused.value).startswith(says)
    assert await store.overrides(GUILD, channel) == {}
    assert await store.log(GUILD, count=9) == []


async def test_the_log_tells_who_changed_what_where_and_when_the_latest_first(
    store: SettingsStore,
) -> None:
    await put(store, max_steps=20)
    await store.change(GUILD, CHANNEL, {"blocked_words": ["a"]}, user_id=BOB)
    await store.change(OTHER_GUILD, WHOLE_SERVER, {"max_steps": 9}, user_id=BOB)
    await put(store, max_steps=30)
    log = await store.log(GUILD, count=9)
    assert [(each.user_id, each.channel_id, each.key, each.old, each.new) for each in log] == [
        (ALICE, WHOLE_SERVER, "max_steps", 20, 30),
        (BOB, CHANNEL, "blocked_words", None, ("a",)),
        (ALICE, WHOLE_SERVER, "max_steps", None, 20),
    ]
    assert log[0].changed_at >= log[1].changed_at >= log[2].changed_at > 1_700_000_000
    assert await store.log(GUILD, count=1, skip=1) == [log[1]]


async def test_what_was_looked_up_once_needs_no_query_until_it_is_changed(
    store: SettingsStore, database: Database
) -> None:
    statements: list[str] = []
    await database._connection.set_trace_callback(statements.append)
    await put(store, max_steps=20)
    await store.at(GUILD, CHANNEL)
    statements.clear()
    for _ in range(3):
        assert (await store.at(GUILD, CATEGORY, CHANNEL)).max_steps == 20
        await store.overrides(GUILD, CHANNEL)
        await store.channels(GUILD)
    assert statements == []
    await put(store, CHANNEL, max_steps=30)
    assert (await store.at(GUILD, CATEGORY, CHANNEL)).max_steps == 30
    assert statements


async def test_after_a_change_that_failed_on_the_disk_all_is_as_it_was(
    store: SettingsStore, database: Database
) -> None:
    await put(store, max_steps=20)
    await database._connection.execute(
        "CREATE TRIGGER no_room BEFORE INSERT ON settings_log WHEN NEW.key = 'size'"
        " BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    with pytest.raises(StorageError, match="no room"):
        await put(store, max_steps=30, max_count=2, size="tall")
    assert await store.overrides(GUILD) == {"max_steps": 20}
    assert await SettingsStore(database).overrides(GUILD) == {"max_steps": 20}
    assert len(await store.log(GUILD, count=9)) == 1


async def test_rows_of_another_version_are_skipped_with_a_word_in_the_log_and_kept(
    store: SettingsStore, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, max_steps=20)
    for key, value in [("sepia", "true"), ("file_format", '"GIF"'), ("max_count", "{broken")]:
        await database.change("INSERT INTO settings VALUES (?, 0, ?, ?)", GUILD, key, value)
        await database.change(
            "INSERT INTO settings_log (guild_id, channel_id, user_id, key, old, new, changed_at)"
            " VALUES (?, 0, ?, ?, NULL, ?, 1)",
            *(GUILD, ALICE, key, value),
        )
    later = SettingsStore(database)
    assert await later.overrides(GUILD) == {"max_steps": 20}
    assert "a setting sepia, which this version does not know" in caplog.text
    assert "the setting file_format has a value that this version does not take" in caplog.text
    assert "the setting max_count has a value that this version does not take" in caplog.text
    assert {each.key: each.new for each in await later.log(GUILD, count=3)} == {
        "sepia": None,
        "file_format": None,
        "max_count": None,
    }
    await later.reset(GUILD, WHOLE_SERVER, user_id=ALICE)
    await later.replace_all(GUILD, await later.export(OTHER_GUILD), user_id=ALICE)
    rows = await database.rows("SELECT key FROM settings WHERE guild_id = ?", GUILD)
    assert {row["key"] for row in rows} == {"sepia", "file_format", "max_count"}


async def test_a_language_that_is_no_more_is_as_if_it_was_not_set_and_its_value_is_not_logged(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await database.change("INSERT INTO settings VALUES (?, 0, 'language', '\"tlh\"')", GUILD)
    assert (await SettingsStore(database).at(GUILD)).language is None
    assert "the setting language has a value that this version does not take" in caplog.text
    assert "tlh" not in caplog.text


async def test_an_exported_server_is_the_same_elsewhere_whatever_was_set_there(
    store: SettingsStore,
) -> None:
    await put(store, max_steps=20, role_factors={str(ALICE): 2}, banned_members={str(BOB): {}})
    await put(store, CHANNEL, blocked_words=["foo"])
    await store.change(OTHER_GUILD, WHOLE_SERVER, {"max_steps": 5, "size": "tall"}, user_id=BOB)
    await store.change(OTHER_GUILD, OTHER_CHANNEL, {"max_steps": 5}, user_id=BOB)
    exported = json.loads(json.dumps(await store.export(GUILD)))
    changes = await store.replace_all(OTHER_GUILD, exported, user_id=BOB)
    assert len(changes) == 6
    assert await store.export(OTHER_GUILD) == exported
    assert (await store.at(OTHER_GUILD, CHANNEL)) == (await store.at(GUILD, CHANNEL))
    assert await store.replace_all(OTHER_GUILD, exported, user_id=BOB) == []


SERVER = {"format": 1, "server": {}, "channels": {}}


@pytest.mark.parametrize(
    ("exported", "says"),
    [
        (None, "This is no file of settings."),
        ([], "This is no file of settings."),
        ({}, "This is no file of settings."),
        (SERVER | {"format": 2}, "This is no file of settings."),
        ({"format": 1}, "This file of settings is not whole."),
        (SERVER | {"server": []}, "This file of settings is not whole."),
        (SERVER | {"channels": {str(CHANNEL): 1}}, "This file of settings is not whole."),
        (SERVER | {"channels": {"`general`": {}}}, "`'general'` is no channel."),
        (SERVER | {"channels": {"9" * 19: {}}}, "`9999999999999999999` is no channel."),
        (SERVER | {"channels": {"9" * 5000: {}}}, "is no channel."),
        (SERVER | {"channels": {"0" * 15: {"keep_days": 1}}}, "`000000000000000` is no channel."),
        (SERVER | {"server": {"max_steps": 10**400}}, "`max_steps`: `1000"),
        (SERVER | {"server": {"max_steps": 1, "x": 1}}, "There is no setting `x`."),
        (SERVER | {"channels": {str(CHANNEL): {"keep_days": 1}}}, "`keep_days` holds for the"),
        (
            SERVER | {"channels": {str(CHANNEL + n): {"max_steps": 1} for n in range(101)}},
            "101 channels would have settings of their own. 100 at most may",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_broken_file_leaves_everything_as_it_was(
    store: SettingsStore, exported: Any, says: str
) -> None:
    await put(store, max_steps=20)
    before = await store.export(GUILD)
    with pytest.raises(RequestError) as refused:
        await store.replace_all(GUILD, exported, user_id=ALICE)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300
    assert await store.export(GUILD) == before
    assert len(await store.log(GUILD, count=9)) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(list(KEYS)) | st.text(max_size=9), JSON, max_size=3),
    st.dictionaries(st.just(str(CHANNEL)) | st.text(max_size=20), JSON, max_size=2),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_no_file_is_more_than_a_sentence(
    store: SettingsStore, server: dict[str, Any], channels: dict[str, Any]
) -> None:
    exported = SERVER | {"server": server, "channels": channels}
    before = await store.export(GUILD)
    try:
        await store.replace_all(GUILD, exported, user_id=ALICE)
    except RequestError:
        assert await store.export(GUILD) == before


async def test_not_all_channels_of_a_large_server_have_settings_of_their_own(
    store: SettingsStore,
) -> None:
    for number in range(MOST_CHANNELS):
        await put(store, CHANNEL + number, max_steps=9)
    with pytest.raises(RequestError, match="101 channels would have settings of their own"):
        await put(store, CATEGORY, max_steps=9)
    await put(store, CHANNEL, max_steps=8, max_count=1)
    await put(store, CHANNEL, max_steps=None, max_count=None)
    await put(store, CATEGORY, max_steps=9)
    assert len(await store.channels(GUILD)) == MOST_CHANNELS
