"""The commands of `/settings` as moderators meet them, and those who are none."""

from __future__ import annotations

import json
from typing import Any

import discord
import pytest
import simcord
from simcord.backend.errors import SetupError

from bot.cogs import _settings_file
from bot.cogs._settings_log import PAGE
from bot.settings import DEFAULTS, KEYS
from bot.settings_store import SettingsStore
from tests.catalogues import Catalogues
from tests.conftest import Scene, restarted
from tests.doubles import HeldExecutor

from .messages import button_labels, description, refusal
from .moderators import add_moderator

COMMANDS = ["panel", "set", "reset", "log", "export", "import"]
MEMBER = 123456789012345678


@pytest.fixture
def admin(held_scene: Scene) -> simcord.MemberActor:
    return add_moderator(held_scene)


@pytest.fixture
def store(held_scene: Scene) -> SettingsStore:
    return held_scene.app.storage.settings


async def give(
    scene: Scene, member: simcord.MemberActor, command: str, **options: Any
) -> simcord.ResponseMessage:
    """Give a command of `/settings` and return the answer, which nobody else sees."""
    channel = options.pop("where", scene.channel)
    result = await member.slash(channel, f"settings {command}", **options)
    assert result.response is not None
    assert result.response.ephemeral
    return result.response


async def refused(scene: Scene, member: simcord.MemberActor, command: str, **options: Any) -> str:
    """Give a command of `/settings` and return the one sentence that refuses it."""
    return refusal(scene, await member.slash(scene.channel, f"settings {command}", **options))


async def offered(
    scene: Scene, member: simcord.MemberActor, option: str, typed: str = "", **filled: Any
) -> list[str]:
    """Return the values that `/settings set` offers for an option."""
    choices = await member.autocomplete(scene.channel, "settings set", option, typed, **filled)
    assert all(1 <= len(choice["name"]) <= 100 for choice in choices)
    return [choice["value"] for choice in choices]


async def test_who_does_not_manage_the_server_is_not_offered_the_commands(
    held_scene: Scene, admin: simcord.MemberActor
) -> None:
    mine = [f"settings {name}" for name in COMMANDS]
    assert [c for c in admin.available_commands(held_scene.channel) if "settings" in c] == mine
    for member in (held_scene.bob, held_scene.moderator):
        assert not any("settings" in c for c in member.available_commands(held_scene.channel))
        with pytest.raises(SetupError, match="default-member-permissions"):
            await member.slash(held_scene.channel, "settings log")


async def test_nobody_is_offered_them_in_direct_messages(held_scene: Scene) -> None:
    commands = held_scene.env.create_user("carol").available_commands()
    assert "memory" in commands
    assert not any(command.startswith("settings") for command in commands)


async def test_a_setting_is_changed_by_its_name_and_the_answer_compares(
    held_scene: Scene, admin: simcord.MemberActor, store: SettingsStore
) -> None:
    message = await give(held_scene, admin, "set", key="max_steps", value="20")
    assert message.content == (
        "**Max steps** for the server: 50 (default) → 20 (set for the server)."
    )
    message = await give(held_scene, admin, "set", key="Max steps", value=" 20 ")
    assert message.content == "**Max steps** for the server: 20 as before (set for the server)."
    where = held_scene.channel
    message = await give(held_scene, admin, "set", key="max_steps", value="9", channel=where)
    assert message.content == (
        f"**Max steps** for <#{where.id}>: 20 (set for the server) → 9 (set for this channel)."
    )
    assert (await store.at(admin.guild.id)).max_steps == 20
    assert (await store.at(admin.guild.id, where.id)).max_steps == 9


async def test_members_and_roles_are_named_in_answers_without_being_pinged(
    held_scene: Scene, admin: simcord.MemberActor
) -> None:
    value = f"<@{held_scene.alice.id}> 7 spam"
    message = await give(held_scene, admin, "set", key="banned_members", value=value)
    assert f"<@{held_scene.alice.id}> until <t:" in message.content
    assert held_scene.env.http_requests[-1].json["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("max_stepz", "20", "There is no setting `max_stepz`. Choose one that is offered."),
        ("max_steps", "many", "`many` is not a value for this. Allowed: a whole number from 1"),
        ("file_format", "GIF", "`GIF` is not a value for this. Allowed: one of PNG, WebP, JPEG."),
    ],
)
async def test_what_is_wrong_is_one_sentence_and_changes_nothing(
    held_scene: Scene,
    admin: simcord.MemberActor,
    store: SettingsStore,
    key: str,
    value: str,
    says: str,
) -> None:
    assert (await refused(held_scene, admin, "set", key=key, value=value)).startswith(says)
    assert await store.log(admin.guild.id, count=1) == []


async def test_what_holds_for_the_whole_server_cannot_be_set_for_a_channel(
    held_scene: Scene, admin: simcord.MemberActor, store: SettingsStore
) -> None:
    options = {"key": "keep_days", "value": "3", "channel": held_scene.channel}
    assert await refused(held_scene, admin, "set", **options) == (
        "`keep_days` holds for the whole server. Set it without naming a channel."
    )
    assert await store.at(admin.guild.id, held_scene.channel.id) == DEFAULTS


async def test_settings_are_offered_by_their_name_and_by_what_they_do(
    held_scene: Scene, admin: simcord.MemberActor
) -> None:
    assert await offered(held_scene, admin, "key") == list(KEYS)[:25]
    assert await offered(held_scene, admin, "key", "max s") == ["max_size", "max_steps"]
    assert await offered(held_scene, admin, "key", "SPOILER") == ["spoiler"]
    assert await offered(held_scene, admin, "key", "gpu") == [
        "seconds_per_member",
        "seconds_per_server",
    ]
    here = held_scene.channel
    assert await offered(held_scene, admin, "key", "gpu", channel=here) == []
    choices = await admin.autocomplete(here, "settings reset", "key", "cooldown")
    assert choices == [
        {
            "name": "Cooldown: Seconds between two requests of one member",
            "value": "cooldown",
        }
    ]


async def test_values_are_offered_as_they_fit_the_setting(
    held_scene: Scene, admin: simcord.MemberActor, store: SettingsStore
) -> None:
    async def values(key: str, typed: str = "", **filled: Any) -> list[str]:
        return await offered(held_scene, admin, "value", typed, key=key, **filled)

    assert await values("private") == ["on", "off"]
    assert await values("layout") == ["files", "grid"]
    assert await values("quantization") == ["the operator's", "8-bit", "None"]
    assert await values("tools", "dev") == ["dev"]
    assert (await values("tools"))[:2] == ["all", "schnell"]
    assert await values("max_steps") == ["50"]
    assert await values("blocked_words") == ["none"]
    assert await values("hologram") == []
    await store.change(
        admin.guild.id,
        0,
        {"max_steps": 20, "blocked_words": ["a", "b"], "blocked_patterns": ["x" * 101]},
        user_id=admin.id,
    )
    await store.change(admin.guild.id, held_scene.channel.id, {"max_steps": 9}, user_id=admin.id)
    assert await values("Max steps") == ["20"]
    assert await values("max_steps", channel=held_scene.channel) == ["9"]
    assert await values("blocked_words") == ["a,b"]
    assert await values("blocked_patterns") == []


async def test_settings_and_values_are_offered_in_the_members_language_and_kept_as_they_are_typed(
    held_scene: Scene,
    admin: simcord.MemberActor,
    store: SettingsStore,
    catalogues: Catalogues,
) -> None:
    catalogues.add(
        "fr",
        {
            "spoiler": "masque",
            "Whether pictures are hidden behind a click": "Si les images sont masquées",
            "as asked": "comme demandé",
            "the server": "le serveur",
            "**{setting}** for {place}: {change}.": "**{setting}** pour {place} : {change}.",
            "{value} as before ({source})": "{value} comme avant ({source})",
            "set for the server": "réglé pour le serveur",
        },
    )
    catalogues.give(admin, "fr")
    choices = await admin.autocomplete(held_scene.channel, "settings set", "key", "masque")
    assert choices == [{"name": "Masque: Si les images sont masquées", "value": "spoiler"}]
    assert await offered(held_scene, admin, "key", "spoil") == ["spoiler"]
    choices = await admin.autocomplete(
        held_scene.channel, "settings set", "value", "as", key="Masque"
    )
    assert choices == [{"name": "comme demandé", "value": "as asked"}]
    await give(held_scene, admin, "set", key="spoiler", value="as asked")
    message = await give(held_scene, admin, "set", key="Masque", value="Comme demandé")
    assert message.content == (
        "**Masque** pour le serveur : comme demandé comme avant (réglé pour le serveur)."
    )
    assert await store.overrides(admin.guild.id) == {"spoiler": "as asked"}


async def test_one_setting_is_taken_back(
    held_scene: Scene, admin: simcord.MemberActor, store: SettingsStore
) -> None:
    await give(held_scene, admin, "set", key="max_steps", value="20")
    await give(held_scene, admin, "set", key="max_steps", value="9", channel=held_scene.channel)
    message = await give(held_scene, admin, "reset", key="max_steps", channel=held_scene.channel)
    assert message.content.endswith(": 9 (set for this channel) → 20 (set for the server).")
    message = await give(held_scene, admin, "reset", key="max_steps")
    assert message.content.endswith(": 20 (set for the server) → 50 (default).")
    message = await give(held_scene, admin, "reset", key="max_steps")
    assert message.content == "**Max steps** for the server: 50 as before (default)."
    assert len(await store.log(admin.guild.id, count=9)) == 4


async def test_all_are_taken_back_only_when_that_is_confirmed(
    held_scene: Scene, admin: simcord.MemberActor, held: HeldExecutor
) -> None:
    await give(held_scene, admin, "set", key="max_steps", value="20")
    await give(held_scene, admin, "set", key="private", value="on")
    await give(held_scene, admin, "set", key="size", value="tall", channel=held_scene.channel)
    message = await give(held_scene, admin, "reset")
    assert message.content == "Set for the server: max steps, private. Shall all of it be reset?"
    assert button_labels(message) == ["Reset all"]
    settings = held_scene.app.client.settings
    async with restarted(held_scene, settings, held) as scene:
        store = scene.app.storage.settings
        assert len(await store.overrides(admin.guild.id)) == 2
        await admin.click(message, label="Reset all")
        assert message.content == "2 settings have been reset for the server."
        assert button_labels(message) == []
        assert await store.overrides(admin.guild.id) == {}
        assert await store.channels(admin.guild.id) == [held_scene.channel.id]
        message = await give(scene, admin, "reset", channel=held_scene.channel)
        assert (
            message.content
            == f"Set for <#{held_scene.channel.id}>: size. Shall all of it be reset?"
        )
        await admin.click(message, label="Reset all")
        assert message.content.startswith("1 setting has been reset for <#")
        message = await give(scene, admin, "reset")
        assert message.content == "Nothing is set for the server."


async def test_nobody_else_can_confirm_or_read_on(held_scene: Scene) -> None:
    view = discord.ui.View()
    for label, custom_id in [("Reset all", "settings_reset:0:1"), ("More", "settings_log:0:1")]:
        view.add_item(discord.ui.Button(label=label, custom_id=custom_id))
    channel = held_scene.app.client.get_channel(held_scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    message = await channel.send(view=view)
    for label in ("Reset all", "More"):
        result = await held_scene.bob.click(message, label=label)
        assert result.response is not None
        assert result.response.ephemeral
        assert result.response.content.startswith(
            "Only the member who opened these settings can use them."
        )


async def test_the_log_tells_who_changed_what_the_latest_first(
    held_scene: Scene, admin: simcord.MemberActor
) -> None:
    assert description(await give(held_scene, admin, "log")) == "Nothing has been changed yet."
    other = add_moderator(held_scene, "other")
    await give(held_scene, admin, "set", key="max_steps", value="20")
    await give(held_scene, other, "set", key="max_steps", value="9", channel=held_scene.channel)
    await give(held_scene, other, "reset", key="max_steps")
    message = await give(held_scene, admin, "log")
    lines = [line.partition(":R> ")[2] for line in description(message).splitlines()]
    assert lines == [
        f"<@{other.id}>: **Max steps** 20 → default",
        f"<@{other.id}>: **Max steps** default → 9 in <#{held_scene.channel.id}>",
        f"<@{admin.id}>: **Max steps** default → 20",
    ]
    assert description(message).startswith("<t:")
    assert button_labels(message) == []


async def test_a_long_log_has_pages_that_fit_whatever_was_set(
    held_scene: Scene, admin: simcord.MemberActor, store: SettingsStore, held: HeldExecutor
) -> None:
    for number in range(PAGE * 2 + 1):
        words = [f"{number:03}{word:03}" * 30 for word in range(100)]
        await store.change(
            admin.guild.id, held_scene.channel.id, {"blocked_words": words}, user_id=admin.id
        )
    message = await give(held_scene, admin, "log")
    assert button_labels(message) == ["Back", "More"]
    assert len(description(message).splitlines()) == PAGE
    assert len(description(message)) <= 4096
    async with restarted(held_scene, held_scene.app.client.settings, held):
        await admin.click(message, label="More")
        await admin.click(message, label="More")
        (line,) = description(message).splitlines()
        assert f"default → `{'000' * 20}" in line
        back, more = message.components[0]["components"]
        assert more["disabled"]
        assert not back.get("disabled")
        await admin.click(message, label="Back")
        assert len(description(message).splitlines()) == PAGE


async def test_a_change_of_a_setting_that_is_no_more_stays_in_the_log(
    held_scene: Scene, admin: simcord.MemberActor
) -> None:
    await held_scene.app.storage.settings._database.change(
        "INSERT INTO settings_log (guild_id, channel_id, user_id, key, old, new, changed_at)"
        " VALUES (?, 0, ?, 'hologram', NULL, 'true', 1)",
        *(admin.guild.id, admin.id),
    )
    line = description(await give(held_scene, admin, "log"))
    assert line.endswith(f"<@{admin.id}>: `hologram`, which this version does not know")


async def exported(scene: Scene, member: simcord.MemberActor, **options: Any) -> bytes:
    """Return the file that `/settings export` answers with."""
    message = await give(scene, member, "export", **options)
    (attachment,) = message.attachments
    assert attachment.filename == f"settings-{member.guild.id}.json"
    return await attachment.read()


async def test_what_one_server_exports_another_imports(
    held_scene: Scene, admin: simcord.MemberActor, store: SettingsStore
) -> None:
    await give(held_scene, admin, "set", key="blocked_words", value="foo, bär")
    await give(held_scene, admin, "set", key="max_steps", value="9", channel=held_scene.channel)
    content = await exported(held_scene, admin)
    assert "bär" in content.decode()
    elsewhere = held_scene.env.create_guild("Elsewhere")
    there = elsewhere.create_text_channel("pictures")
    stranger = add_moderator(held_scene, "stranger", elsewhere)
    await give(held_scene, stranger, "set", key="private", value="on", where=there)
    message = await give(
        held_scene, stranger, "import", file=("settings.json", content), where=there
    )
    assert message.content == "3 settings have changed."
    assert json.loads(await exported(held_scene, stranger, where=there)) == json.loads(content)
    assert (await store.at(elsewhere.id)).blocked_words == ("foo", "bär")
    assert (await store.at(elsewhere.id)).private is False
    message = await give(
        held_scene, stranger, "import", file=("settings.json", content), where=there
    )
    assert message.content == "No settings have changed."
    assert {each.user_id for each in await store.log(elsewhere.id, count=9)} == {stranger.id}


async def test_an_import_tells_which_settings_name_what_is_not_in_this_server(
    held_scene: Scene, admin: simcord.MemberActor
) -> None:
    here = str(held_scene.channel.id)
    server = {
        "allowed_channels": [MEMBER],
        "denied_channels": [held_scene.channel.id],
        "role_factors": {str(MEMBER): 2},
        "archive_channel": MEMBER,
        "max_steps": 9,
    }
    file = {"format": 1, "server": server, "channels": {here: {"allowed_roles": [MEMBER]}}}
    message = await give(
        held_scene, admin, "import", file=("settings.json", json.dumps(file).encode())
    )
    assert message.content == (
        "6 settings have changed. These name channels or roles that are not in this server:"
        " allowed channels, role factors, archive channel, allowed roles. Please look at them in"
        " `/settings panel`."
    )


def nested(depth: int) -> bytes:
    return b'{"format":1,"server":' + b"[" * depth + b"]" * depth + b',"channels":{}}'


def server(values: str) -> bytes:
    return f'{{"format":1,"server":{{{values}}},"channels":{{}}}}'.encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "This is no JSON file: line 1 cannot be read. Use a file that"),
        (b'{\n"format": 1,\n', "This is no JSON file: line 3 cannot be read."),
        (b"\xff\xfe\x00", "This is no JSON file: it cannot be read."),
        (b"\x89PNG\r\n", "This is no JSON file"),
        (nested(100_000), "This is no JSON file: it cannot be read."),
        (nested(100), "This file of settings is not whole."),
        (server('"max_steps":' + "9" * 5000), "This is no JSON file: it cannot be read."),
        (server('"max_steps":' + "9" * 4000), "`max_steps`: `9"),
        (server('"max_steps":1e999'), "`max_steps`: `inf` is not a value for this."),
        (server('"max_steps":NaN'), "This is no JSON file: it cannot be read."),
        (server('"max_steps":9,"max_steps":8'), "This is no JSON file: it cannot be read."),
        (server(r'"blocked_words":["\ud800x"]'), "This is no JSON file: it cannot be read."),
        (server('"max_count":2,"max_steps":51'), "`max_steps`: `51` is not a value for this."),
        (server('"max_count":2,"hologram":51'), "There is no setting `hologram`."),
        (server('"max_steps":' + "[" * 400 + "]" * 400), "`max_steps`: `[[["),
        (server('"language":"tlh"'), "`language`: `tlh` is not a value for this. Allowed: one of"),
        (b"[]", "This is no file of settings."),
        (b'"' + b"x" * 256 * 1024 + b'"', "The file has 256 KiB, but at most 256 KiB are read."),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_broken_file_is_one_sentence_and_changes_nothing(
    held_scene: Scene,
    admin: simcord.MemberActor,
    store: SettingsStore,
    content: bytes,
    says: str,
) -> None:
    await give(held_scene, admin, "set", key="max_steps", value="20")
    said = await refused(held_scene, admin, "import", file=("settings.json", content))
    assert said.startswith(says)
    assert len(said) < 300
    assert await store.overrides(admin.guild.id) == {"max_steps": 20}


async def test_a_file_that_is_too_large_is_not_even_read(
    held_scene: Scene, admin: simcord.MemberActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(_settings_file, "read", read)
    result = await admin.slash(
        held_scene.channel, "settings import", file=("settings.json", b"{" * 300_000)
    )
    assert not result.deferred
    assert refusal(held_scene, result).startswith("The file has 292 KiB")


async def test_an_import_is_shared_by_none_of_the_other_servers(
    held_scene: Scene, admin: simcord.MemberActor, store: SettingsStore
) -> None:
    elsewhere = held_scene.env.create_guild("Elsewhere")
    await store.change(elsewhere.id, 0, {"size": "tall"}, user_id=admin.id)
    await give(held_scene, admin, "import", file=("s.json", server('"max_steps":9')))
    assert await store.overrides(elsewhere.id) == {"size": "tall"}
    message = await give(held_scene, admin, "log")
    assert len(description(message).splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "value", "warning"),
    [
        ("tools", "dev, fill", "FLUX.1 schnell is the default of /generate, and is not on."),
        ("model", "krea", ""),
        ("classifier", "blur", "The operator has set no CLASSIFIER, so nothing is painted."),
        ("archive_channel", "123456789012345678", "This is no channel of the server"),
    ],
)
async def test_a_setting_that_does_not_do_what_it_seems_to_says_so(
    held_scene: Scene, admin: simcord.MemberActor, key: str, value: str, warning: str
) -> None:
    said = (await give(held_scene, admin, "set", key=key, value=value)).content
    assert (warning in said) if warning else said.endswith(").")


async def test_what_was_set_for_a_channel_goes_with_it(
    held_scene: Scene, admin: simcord.MemberActor
) -> None:
    assert held_scene.channel.guild is not None
    guild_id, store = held_scene.channel.guild.id, held_scene.app.storage.settings
    gone = held_scene.channel.guild.create_text_channel("gone")
    for channel in (gone, held_scene.channel):
        await store.change(guild_id, channel.id, {"max_count": 1}, user_id=admin.id)
    channel = held_scene.app.client.get_channel(gone.id)
    assert isinstance(channel, discord.TextChannel)
    await channel.delete()
    await held_scene.env.settle()
    assert await store.channels(guild_id) == [held_scene.channel.id]
