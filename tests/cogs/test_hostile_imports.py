"""Files for `/settings import` that no export has written: a sentence, and nothing changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.errors import RequestError
from bot.settings import KEYS
from bot.settings_store import FORMAT, _read_export
from tests.cogs.forgery import Watch, told
from tests.cogs.moderators import add_moderator
from tests.conftest import Scene

DEFECT = "Something went wrong"
CHANNEL = str(10**18)


def exported(server: Any = (), channels: Any = (), **more: Any) -> bytes:
    """Return a file of the right shape, with these settings in it."""
    whole = {"format": FORMAT, "server": dict(server), "channels": dict(channels), **more}
    return json.dumps(whole).encode()


FILES = {
    "nothing": b"",
    "zeros": bytes(1000),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "lists without end": b"[" * 100_000,
    "lists in lists": b"[" * 60_000 + b"]" * 60_000,
    "objects in objects": b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
    "a number of 5,000 digits": b'{"format": ' + b"9" * 5000 + b"}",
    "a number of 200,000 digits": b'{"format": ' + b"9" * 200_000 + b"}",
    "a large exponent": b'{"format": 1e999, "server": {}, "channels": {}}',
    "no number": b'{"format": NaN, "server": {}, "channels": {}}',
    "infinity": exported({"max_steps": 7}).replace(b"7", b"Infinity"),
    "steps without end": exported({"max_steps": 7}).replace(b"7", b"1e999"),
    "a name twice": b'{"format": 1, "format": 1, "server": {}, "channels": {}}',
    "UTF-16": exported().decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf[1]",
    "no UTF-8": b'{"format": "\xff\xfe"}',
    "half a character": exported({"blocked_words": ["x"]}).replace(b"x", b"\\ud83d"),
    "a null": exported({"blocked_words": ["x"]}).replace(b"x", b"\\u0000"),
    "a list": b"[]",
    "a text": b'"settings"',
    "true": b"true",
    "another format": exported(format=2),
    "a format that is true": exported(format=True).replace(b'"server": {}', b'"server": []'),
    "no server": b'{"format": 1, "channels": {}}',
    "an unknown setting": exported({"owner": 1}),
    "what Python calls its own": exported({"__class__": {}, "__init__": 1}),
    "a setting with a path": exported({"../../.env": "x"}),
    "what holds for servers alone": exported(channels={CHANNEL: {"language": "en"}}),
    "a channel that is none": exported(channels={"1": {}}),
    "a channel of digits of another script": exported(channels={"\u0661" * 18: {}}),
    "a channel below zero": exported(channels={f"-{CHANNEL}": {}}),
    "a channel beyond all": exported(channels={"9" * 19: {}}),
    "a channel of nothing": exported(channels={CHANNEL: None}),
    "10,000 channels": exported(channels={str(10**18 + n): {} for n in range(10_000)}),
    "too many words": exported({"blocked_words": [f"w{n}" for n in range(5000)]}),
    "a word of 100,000 letters": exported({"blocked_words": ["w" * 100_000]}),
    "an endless pattern": exported({"blocked_patterns": ["(a+)+$" * 40]}),
    "a large pattern": exported({"blocked_patterns": ["((((a{99}){99}){99}){99})"]}),
    "a broken pattern": exported({"blocked_patterns": ["("]}),
    "a ban of everybody": exported({"banned_members": {"@everyone": {}}}),
    "a ban with a ping": exported({"banned_members": {CHANNEL: {"reason": "<@&1> @here"}}}),
    "a ban that says too much": exported({"banned_members": {CHANNEL: {"is_owner": True}}}),
    "a ban until the sun goes out": exported({"banned_members": {CHANNEL: {"until": 1e300}}}),
    "more than is read": exported() + b" " * 300_000,
}

VALUES = (None, True, -1, 10**30, 1e308, "", "x" * 5000, "@everyone", [], [[]], {}, {"a": {}})


async def test_no_file_does_more_than_get_a_sentence(
    held_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    admin, store = add_moderator(held_scene), held_scene.app.storage.settings
    guild = held_scene.channel.guild.id
    await store.change(guild, 0, {"max_count": 2}, user_id=admin.id)
    before = await store.export(guild)
    watch = Watch(held_scene, caplog)
    for name, content in FILES.items():
        file = ("settings.json", content)
        result = await admin.slash(held_scene.channel, "settings import", file=file)
        assert result.response is not None, name
        assert result.response.ephemeral
        sentence = result.response.content
        assert sentence, name
        assert DEFECT not in sentence, name
        assert len(sentence) <= 2000
        if await store.export(guild) != before:  # those that are in order after all
            assert "changed" in sentence, name
            await store.replace_all(guild, before, user_id=admin.id)
    watch.check()


async def test_what_another_server_has_exported_shows_nothing_of_it(
    held_scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    admin, store = add_moderator(held_scene), held_scene.app.storage.settings
    elsewhere = held_scene.env.create_guild("Elsewhere")
    hidden = elsewhere.create_text_channel("canary")
    await store.change(elsewhere.id, 0, {"blocked_words": ("canary",)}, user_id=1)
    watch = Watch(held_scene, caplog)
    content = exported({"archive_channel": hidden.id, "allowed_channels": [hidden.id]})
    file = ("settings.json", content)
    answer = told(await admin.slash(held_scene.channel, "settings import", file=file))
    assert "not in this server" in answer
    assert "canary" not in answer
    panel = told(await admin.slash(held_scene.channel, "settings panel"))
    assert "canary" not in panel
    watch.check()


@pytest.mark.parametrize("key", KEYS)
def test_a_value_of_another_kind_is_refused_in_a_sentence(key: str) -> None:
    for value in VALUES:
        for file in ({"server": {key: value}, "channels": {}}, {"server": value, "channels": {}}):
            taken_or_refused({"format": FORMAT, **file})


def taken_or_refused(whole: Any) -> None:
    try:
        wanted = _read_export(whole)
    except RequestError as error:
        sentence = str(error)
    else:
        assert all(name in KEYS for values in wanted.values() for name in values)
        return
    assert len(sentence) < 1500
    assert sentence.endswith((".", "!"))
