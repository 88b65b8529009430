"""The panel of `/settings panel` as a moderator meets it, with every control that it has."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord

from bot.cogs import _settings_panel
from bot.files import disk_use
from bot.i18n import _, languages, speaking
from bot.setting_kinds import Ids, OneChannel, OneLanguage, OneOf, Several, Switch
from bot.settings import DEFAULTS, KEYS, Key
from bot.settings_store import SettingsStore
from tests.catalogues import Catalogues, Sentence, quoted, sentences
from tests.conftest import Scene, restarted
from tests.doubles import HeldExecutor

from .moderators import add_moderator, parts, texts

PAGES = [
    *("Defaults", "Limits", "Limits of use", "Access", "Safety", "Replies"),
    "Language and archive",
]
PER_CHANNEL = ["Defaults", "Limits", "Access", "Safety", "Replies"]

BUTTON, TEXT_INPUT = 2, 4

MEMBER = 123456789012345678

TYPED = {
    "steps": "dev 20, fill 25",
    "guidance": "dev 2.5",
    "max_steps": "20",
    "max_count": "2",
    "waiting_per_member": "3",
    "waiting_per_server": "30",
    "seconds_per_member": "60 seconds",
    "seconds_per_server": "600",
    "cooldown": "5",
    "role_factors": f"<@&{MEMBER}> 3",
    "banned_members": f"<@{MEMBER}> until 2030-12-31 18:00 spam",
    "blocked_words": "foo, two words",
    "blocked_patterns": "a+\nb+",
    "classifier_threshold": "80",
    "quality": "75",
    "keep_days": "30",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Desk:
    """A moderator with an open panel."""

    scene: Scene
    member: simcord.MemberActor
    message: simcord.ResponseMessage

    @property
    def store(self) -> SettingsStore:
        return self.scene.app.storage.settings

    @property
    def guild_id(self) -> int:
        return self.member.guild.id

    @property
    def title(self) -> str:
        """The English name of the page that is open."""
        options = self.find("page", "page")["options"]
        (title,) = (option["value"] for option in options if option.get("default"))
        return str(title)

    @property
    def controls(self) -> dict[tuple[str, str], dict[str, Any]]:
        """All buttons and selects, by what they do and to what."""
        found = [part for part in parts(self.message) if "custom_id" in part]
        return {tuple(part["custom_id"].split(":")[1:3]): part for part in found}

    def find(self, verb: str, subject: str) -> dict[str, Any]:
        return self.controls[verb, subject]

    def line(self, key: str) -> str:
        """What the panel says of a setting."""
        (line,) = (text for text in texts(self.message) if f"**{KEYS[key].title}**" in text)
        return line

    async def turn(self, title: str) -> None:
        """Open a page."""
        await self.member.select(
            self.message, [title], custom_id=self.find("page", "page")["custom_id"]
        )
        assert self.title == title

    async def click(self, verb: str, key: str) -> simcord.InteractionResult:
        custom_id = self.find(verb, key)["custom_id"]
        return await self.member.click(self.message, custom_id=custom_id)

    async def choose(self, key: str, *values: Any) -> None:
        custom_id = self.find("choose", key)["custom_id"]
        await self.member.select(self.message, values, custom_id=custom_id)

    async def type(self, key: str, text: str, **others: Any) -> simcord.InteractionResult:
        """Write what a setting shall be, in the modal of its button."""
        shown = await self.click("change", key)
        return await self.member.submit_modal(shown, {"value": text} | others)

    async def refused(self, key: str, text: str, **others: Any) -> str:
        """Write what is no value, and return the private sentence that says so."""
        result = await self.type(key, text, **others)
        assert result.response is not None
        assert result.response.id != self.message.id
        assert result.response.ephemeral
        return result.response.content

    async def use(self, key: Key) -> Any:
        """Change a setting by the control that it has, and return what it must be then."""
        guild = self.member.guild
        match key.kind:
            case Switch():
                await self.click("off" if key.default else "on", key.name)
                return not key.default
            case OneLanguage():
                await self.choose(key.name, "en")
                return "en"
            case OneOf(options):
                await self.choose(key.name, options[-1])
                return options[-1]
            case Several():
                await self.choose(key.name, "fill", "dev")
                return ("dev", "fill")
            case Ids(sign="#"):
                category = guild.create_category("a category")
                await self.choose(key.name, category, self.scene.channel)
                return (category.id, self.scene.channel.id)
            case Ids():
                role = guild.create_role("artists")
                await self.choose(key.name, role)
                return (role.id,)
            case OneChannel():
                await self.choose(key.name, self.scene.channel)
                return self.scene.channel.id
            case kind:
                await self.type(key.name, TYPED[key.name])
                return kind.parse(TYPED[key.name])


async def sit_down(
    scene: Scene,
    member: simcord.MemberActor | None = None,
    where: simcord.ChannelHandle | None = None,
    **options: Any,
) -> Desk:
    """Open a panel, as a new moderator if nobody is named."""
    member = member or add_moderator(scene)
    result = await member.slash(where or scene.channel, "settings panel", **options)
    assert result.response is not None
    assert result.response.ephemeral
    return Desk(scene=scene, member=member, message=result.response)


async def test_a_panel_opens_with_what_holds_and_where_it_is_from(held_scene: Scene) -> None:
    desk = await sit_down(held_scene)
    assert desk.title == "Defaults"
    first = texts(desk.message)[0]
    assert first.splitlines() == [
        "### Settings of Test Guild",
        "-# Changes are saved at once. They hold in all channels.",
    ]
    assert desk.line("model").splitlines() == [
        "**Model** · schnell",
        "-# The model of /generate where none is chosen · default",
    ]


async def test_every_setting_is_on_one_page_with_a_control(held_scene: Scene) -> None:
    desk = await sit_down(held_scene)
    assert [option["label"] for option in desk.find("page", "page")["options"]] == PAGES
    seen = []
    for title in PAGES:
        await desk.turn(title)
        seen += [subject for verb, subject in desk.controls if verb != "page"]
        assert all(desk.line(subject) for verb, subject in desk.controls if verb != "page")
    assert seen == list(KEYS)


@pytest.mark.parametrize("title", PAGES)
async def test_each_control_changes_what_it_says_and_nothing_else(
    held_scene: Scene, title: str
) -> None:
    desk = await sit_down(held_scene)
    await desk.turn(title)
    subjects = [subject for verb, subject in desk.controls if verb != "page"]
    for key in map(KEYS.__getitem__, subjects):
        assert desk.line(key.name).endswith(" · default")
        value = await desk.use(key)
        assert desk.title == title
        assert await desk.store.overrides(desk.guild_id) == {key.name: value}
        assert desk.line(key.name).startswith(f"**{key.title}** · {key.kind.show(value)}\n")
        assert desk.line(key.name).endswith(" · set for the server")
        await desk.click("reset", key.name)
        assert await desk.store.overrides(desk.guild_id) == {}
        assert desk.line(key.name).endswith(" · default")
        assert ("reset", key.name) not in desk.controls
        reset, change = await desk.store.log(desk.guild_id, count=2)
        assert (change.key, change.old, change.new) == (key.name, None, value)
        assert (reset.key, reset.old, reset.new) == (key.name, value, None)
        assert change.user_id == reset.user_id == desk.member.id


@pytest.mark.parametrize("title", PER_CHANNEL)
async def test_each_control_of_a_channels_panel_changes_that_channel_alone(
    held_scene: Scene, title: str
) -> None:
    desk = await sit_down(held_scene, channel=held_scene.channel)
    await desk.turn(title)
    channel_id = held_scene.channel.id
    for subject in [subject for verb, subject in desk.controls if verb != "page"]:
        value = await desk.use(KEYS[subject])
        assert await desk.store.overrides(desk.guild_id, channel_id) == {subject: value}
        assert desk.line(subject).endswith(" · set for this channel")
        await desk.click("reset", subject)
    assert await desk.store.at(desk.guild_id) == DEFAULTS
    assert {each.channel_id for each in await desk.store.log(desk.guild_id, count=99)} == {
        channel_id
    }


async def test_a_channels_panel_has_what_channels_may_have_and_says_where_it_is_from(
    held_scene: Scene,
) -> None:
    admin = add_moderator(held_scene)
    category = admin.guild.create_category("studio")
    channel = admin.guild.create_text_channel("easel", category=category)
    store, guild_id = held_scene.app.storage.settings, admin.guild.id
    for channel_id, values in {
        0: {"max_steps": 40, "max_count": 3, "quantization": "8-bit"},
        category.id: {"max_steps": 30},
        channel.id: {"private": True},
    }.items():
        await store.change(guild_id, channel_id, values, user_id=admin.id)
    desk = await sit_down(held_scene, admin, channel=channel)
    assert texts(desk.message)[0].startswith(f"### Settings of <#{channel.id}>\n")
    assert [option["label"] for option in desk.find("page", "page")["options"]] == PER_CHANNEL
    # what is unset for a channel is as in the server, and so is no choice
    choices = [option["label"] for option in desk.find("choose", "quantization")["options"]]
    assert choices == ["8-bit", "None"]
    await desk.turn("Limits")
    assert desk.line("max_steps").startswith("**Max steps** · 30\n")
    assert desk.line("max_steps").endswith(f" · set in <#{category.id}>")
    assert desk.line("max_count").endswith(" · set for the server")
    assert desk.line("max_size").endswith(" · default")
    await desk.turn("Replies")
    assert desk.line("private").endswith(" · set for this channel")
    assert not any("Keep days" in text for text in texts(desk.message))
    whole = await sit_down(held_scene, admin)
    assert f"Set otherwise in <#{category.id}> <#{channel.id}>" in texts(whole.message)[0]


async def fill_up(scene: Scene, admin: simcord.MemberActor) -> None:
    """Set everything, to as much as it may be."""
    members = {str(MEMBER + number): {"reason": "x" * 200} for number in range(100)}
    long = {
        **{name: [MEMBER + n for n in range(100)] for name, k in KEYS.items() if _is_ids(k)},
        "role_factors": {str(MEMBER + number): 99.5 for number in range(100)},
        "banned_members": members,
        "blocked_words": [f"{number:03}" * 66 for number in range(200)],
        "blocked_patterns": ["`" * 190 + str(number) for number in range(200)],
        "archive_channel": MEMBER,
        "quantization": "None",
        "language": "en",
    }
    values = {name: long.get(name, key.kind.dump(key.default)) for name, key in KEYS.items()}
    store = scene.app.storage.settings
    await store.change(admin.guild.id, 0, values, user_id=admin.id)
    for number in range(50):
        await store.change(admin.guild.id, MEMBER + number, {"size": "tall"}, user_id=admin.id)


def _is_ids(key: Key) -> bool:
    return isinstance(key.kind, Ids)


@pytest.mark.parametrize("language", languages())
async def test_no_page_outgrows_a_message_of_discords_when_everything_is_set(
    held_scene: Scene, language: str
) -> None:
    admin = add_moderator(held_scene)
    await fill_up(held_scene, admin)
    await held_scene.app.storage.settings.change(
        admin.guild.id, 0, {"language": language}, user_id=admin.id
    )
    desk = await sit_down(held_scene, admin)
    for title in PAGES:
        await desk.turn(title)
        assert len(parts(desk.message)) <= 40
        assert sum(map(len, texts(desk.message))) <= 4000
        assert all(len(part["custom_id"]) <= 100 for part in desk.controls.values())
        with speaking(language):
            set_here = [subject for verb, subject in desk.controls if verb == "reset"]
            assert set_here
            assert all(desk.line(each).endswith(_("set for the server")) for each in set_here)


@pytest.fixture
def quoting(catalogues: Catalogues) -> Catalogues:
    """A French in which all that is translated stands in « and »."""
    names: list[Sentence] = [key.term for key in KEYS.values()]
    catalogues.add("fr", {each: quoted(each) for each in (*sentences(), *names)})
    return catalogues


async def test_a_panel_is_in_the_language_of_who_opens_it_and_acts_by_what_is_typed(
    held_scene: Scene, quoting: Catalogues
) -> None:
    admin = add_moderator(held_scene)
    quoting.give(admin, "fr")
    desk = await sit_down(held_scene, admin)
    for title in PAGES:
        await desk.turn(title)
        said = [line for text in texts(desk.message) for line in text.splitlines()]
        said += [option["label"] for option in desk.find("page", "page")["options"]]
        said += [part["label"] for part in parts(desk.message) if "label" in part]
        assert [line for line in said if "«" not in line] == []
    await desk.turn("Safety")
    await desk.click("on", "age_restricted_only")
    await desk.choose("spoiler", "never")
    labels = [option["label"] for option in desk.find("choose", "spoiler")["options"]]
    assert labels == ["« as asked »", "« always »", "« never »"]
    shown = await desk.click("change", "blocked_words")
    assert shown.modal is not None
    purpose, allowed, label = shown.modal["components"]
    for line in (shown.modal["title"], purpose["content"], allowed["content"], label["label"]):
        assert line.startswith("« ")
    await desk.member.submit_modal(shown, {"value": "foo"})
    assert (await desk.refused("blocked_patterns", "(")).startswith("« The pattern cannot be used")
    assert await desk.store.overrides(desk.guild_id) == {
        "age_restricted_only": True,
        "spoiler": "never",
        "blocked_words": ("foo",),
    }


async def test_the_languages_to_choose_from_have_their_own_names_and_are_spoken_at_once(
    held_scene: Scene, quoting: Catalogues
) -> None:
    desk = await sit_down(held_scene)
    await desk.turn("Language and archive")
    options = desk.find("choose", "language")["options"]
    assert [(option["value"], option["label"]) for option in options] == [
        ("each member's own", "each member's own"),
        ("en", "English"),
        ("fr", "français"),
    ]
    await desk.choose("language", "fr")
    assert (await desk.store.at(desk.guild_id)).language == "fr"
    with speaking("fr"):
        assert desk.line("language").startswith("**« language »** · français\n-# « The language")
    await desk.choose("language", "each member's own")
    assert (await desk.store.at(desk.guild_id)).language is None
    assert desk.line("language").startswith("**Language** · each member's own\n-# The language")


async def test_a_list_that_no_select_or_text_input_has_room_for_is_not_lost(
    held_scene: Scene,
) -> None:
    admin = add_moderator(held_scene)
    await fill_up(held_scene, admin)
    desk = await sit_down(held_scene, admin)
    await desk.turn("Access")
    shown = await desk.click("change", "denied_roles")
    assert shown.modal is not None
    result = await desk.click("change", "banned_members")
    assert result.response is not None
    assert result.response.ephemeral
    assert result.response.content.startswith("`banned_members` is too long to be edited here.")
    assert len((await desk.store.at(desk.guild_id)).banned_members) == 100


async def test_the_modal_holds_what_is_set_and_says_what_may_be_typed(held_scene: Scene) -> None:
    desk = await sit_down(held_scene)
    await desk.turn("Safety")
    await desk.type("blocked_words", "foo, bar baz")
    shown = await desk.click("change", "blocked_words")
    assert shown.modal is not None
    assert shown.modal["title"] == "Blocked words"
    purpose, allowed, label = shown.modal["components"]
    assert purpose["content"] == "Words and phrases that no prompt may hold."
    assert allowed["content"] == "Allowed: words, with commas between them, or `none`."
    assert label["component"]["value"] == "foo,bar baz"
    assert label["component"]["style"] == discord.TextStyle.paragraph.value
    await desk.member.submit_modal(shown, {"value": ""})
    assert (await desk.store.at(desk.guild_id)).blocked_words == ()


async def test_members_are_banned_by_choosing_them_beside_those_who_are_already(
    held_scene: Scene,
) -> None:
    desk = await sit_down(held_scene)
    await desk.turn("Access")
    for member, rest in [(held_scene.alice, "for ever"), (held_scene.bob, "7 likes to shout")]:
        shown = await desk.click("change", "banned_members")
        assert shown.modal is not None
        typed = shown.modal["components"][-1]["component"]["value"]
        chosen = {"value": typed, "added": [member], "rest": rest}
        await desk.member.submit_modal(shown, chosen)
    bans = (await desk.store.at(desk.guild_id)).banned_members
    assert list(bans) == [held_scene.alice.id, held_scene.bob.id]
    assert bans[held_scene.alice.id].until is None
    assert bans[held_scene.bob.id].reason == "likes to shout"
    assert bans[held_scene.bob.id].until is not None
    assert f"<@{held_scene.bob.id}> until <t:" in desk.line("banned_members")


async def test_roles_get_their_factor_by_being_chosen(held_scene: Scene) -> None:
    desk = await sit_down(held_scene)
    await desk.turn("Limits of use")
    roles = [desk.member.guild.create_role(name) for name in ("artists", "staff")]
    await desk.type("role_factors", "none", added=roles, rest="0")
    await desk.type("role_factors", f"<@&{roles[0].id}> 0", added=[roles[1]], rest="2.5")
    factors = (await desk.store.at(desk.guild_id)).role_factors
    assert factors == {roles[0].id: 0.0, roles[1].id: 2.5}
    said = await desk.refused("role_factors", "none", added=roles, rest="many")
    assert "each factor 0 or from 0.01 to 100" in said
    assert (await desk.store.at(desk.guild_id)).role_factors == factors


@pytest.mark.parametrize(
    ("title", "key", "typed", "says"),
    [
        ("Limits", "max_steps", "51", "`51` is not a value for this. Allowed: a whole number"),
        ("Safety", "blocked_patterns", "(", "The pattern cannot be used"),
        ("Defaults", "steps", "schnell 40", "`schnell` is 40, but it goes from 1 to 12 here."),
    ],
)
async def test_a_bad_value_is_one_sentence_and_leaves_the_panel_as_it_was(
    held_scene: Scene, title: str, key: str, typed: str, says: str
) -> None:
    desk = await sit_down(held_scene)
    await desk.turn(title)
    before = texts(desk.message)
    assert (await desk.refused(key, typed)).startswith(says)
    assert texts(desk.message) == before
    assert await desk.store.log(desk.guild_id, count=1) == []


async def test_selects_show_what_is_chosen_and_can_be_emptied(held_scene: Scene) -> None:
    desk = await sit_down(held_scene)
    await desk.turn("Access")
    await desk.choose("denied_channels", held_scene.channel)
    gone = await desk.store.change(
        desk.guild_id, 0, {"denied_roles": [MEMBER]}, user_id=desk.member.id
    )
    await desk.turn("Access")
    defaults = desk.find("choose", "denied_channels")["default_values"]
    assert defaults == [{"type": "channel", "id": held_scene.channel.id}]
    # a role that there is not cannot be shown as chosen
    assert gone[0].new == (MEMBER,)
    assert "default_values" not in desk.find("choose", "denied_roles")
    assert f"<@&{MEMBER}>" in desk.line("denied_roles")
    await desk.choose("denied_channels")
    await desk.choose("denied_roles")
    effective = await desk.store.at(desk.guild_id)
    assert (effective.denied_channels, effective.denied_roles) == ((), ())


async def test_several_changes_one_after_the_other_all_stay(held_scene: Scene) -> None:
    desk = await sit_down(held_scene)
    await desk.choose("model", "dev")
    await desk.choose("size", "tall")
    await desk.click("on", "quantization_locked")
    assert await desk.store.overrides(desk.guild_id) == {
        "model": "dev",
        "size": "tall",
        "quantization_locked": True,
    }
    assert desk.line("model").startswith("**Model** · dev\n")
    assert desk.line("size").startswith("**Size** · tall\n")


async def test_of_clicks_in_quick_succession_the_panel_shows_both(
    held_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = await sit_down(held_scene)
    await desk.turn("Language and archive")
    calls: list[Path] = []

    def measured(folder: Path) -> int:
        """Hold up the first drawing for as long as the second would need to overtake it."""
        calls.append(folder)
        threading.Event().wait(0.3 if len(calls) == 1 else 0)
        return 0

    settle = held_scene.env._settle_internal

    async def go_on(*args: Any, **named: Any) -> None:
        """Do not wait, as simcord does after each click."""

    monkeypatch.setattr(_settings_panel, "disk_use", measured)
    monkeypatch.setattr(held_scene.env, "_settle_internal", go_on)
    await desk.choose("language", "en")
    async with asyncio.timeout(10):
        while not calls:
            await asyncio.sleep(0.01)
    monkeypatch.setattr(held_scene.env, "_settle_internal", settle)
    await desk.choose("archive_channel", held_scene.channel)
    assert len(calls) == 2
    assert desk.line("language").startswith("**Language** · English\n")
    archive = f"<#{held_scene.channel.id}>"
    assert desk.line("archive_channel").startswith(f"**Archive channel** · {archive}\n")


async def test_a_click_on_a_panel_that_is_out_of_date_does_what_it_says(held_scene: Scene) -> None:
    one = await sit_down(held_scene)
    other = await sit_down(held_scene, add_moderator(held_scene, "another"))
    for desk in (one, other):
        await desk.turn("Replies")
    await one.click("on", "private")
    await one.choose("layout", "grid")
    # it still says "Turn on", and so does not turn it off
    await other.click("on", "private")
    assert (await one.store.at(one.guild_id)).private is True
    assert other.line("layout").startswith("**Layout** · grid\n")
    assert len(await one.store.log(one.guild_id, count=9)) == 2


async def test_the_panel_works_after_a_restart(held_scene: Scene, held: HeldExecutor) -> None:
    desk = await sit_down(held_scene)
    await desk.turn("Limits")
    await desk.type("max_steps", "20")
    async with restarted(held_scene, held_scene.app.client.settings, held) as scene:
        after = dataclasses.replace(desk, scene=scene)
        await after.type("max_count", "2")
        await after.click("reset", "max_steps")
        await after.turn("Defaults")
        await after.choose("model", "dev")
        assert await after.store.overrides(desk.guild_id) == {"max_count": 2, "model": "dev"}


async def left_over(desk: Desk, custom_id: str) -> discord.Message:
    """Return a public message with a button of a panel, as nobody should ever have it."""
    button: discord.ui.Button[discord.ui.View] = discord.ui.Button(label="x", custom_id=custom_id)
    channel = desk.scene.app.client.get_channel(desk.scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    return await channel.send(view=discord.ui.View().add_item(button))


async def test_nobody_else_sees_a_panel_or_can_use_it(held_scene: Scene) -> None:
    desk = await sit_down(held_scene)
    assert held_scene.channel.history(viewer=held_scene.bob) == []
    custom_id = desk.find("on", "quantization_locked")["custom_id"]
    button = await left_over(desk, custom_id)
    for stranger in (held_scene.bob, add_moderator(held_scene, "another")):
        result = await stranger.click(button, label="x")
        assert result.response is not None
        assert result.response.ephemeral
        assert result.response.content == (
            "Only the member who opened these settings can use them."
            " Open your own with `/settings panel`."
        )
    assert await desk.store.overrides(desk.guild_id) == {}


async def test_a_panel_that_was_left_open_is_for_those_alone_who_manage_the_server(
    held_scene: Scene,
) -> None:
    admin = await sit_down(held_scene)
    commands = await held_scene.app.client.tree.fetch_commands()
    (command,) = (command for command in commands if command.name == "settings")
    admin.member.guild.set_command_permissions(command, {held_scene.bob: True})
    bob = await sit_down(held_scene, held_scene.bob)
    await bob.click("on", "quantization_locked")
    assert (await bob.store.at(bob.guild_id)).quantization_locked
    await held_scene.env.advance_time(3700)
    result = await bob.click("off", "quantization_locked")
    assert result.response is not None
    assert result.response.content == (
        "This was left open for long. Open it once more with `/settings panel`."
    )
    assert (await bob.store.at(bob.guild_id)).quantization_locked
    await admin.choose("model", "dev")
    assert (await bob.store.at(bob.guild_id)).model == "dev"


async def test_a_panel_of_a_setting_that_is_no_more_says_so(held_scene: Scene) -> None:
    desk = await sit_down(held_scene)
    button = await left_over(desk, f"settings:on:hologram:0:{desk.member.id}")
    result = await desk.member.click(button, label="x")
    assert result.response is not None
    assert result.response.content.startswith("There is no setting `hologram`.")


async def test_a_panel_of_a_channel_that_is_gone_can_still_take_its_settings_back(
    held_scene: Scene,
) -> None:
    admin = add_moderator(held_scene)
    easel = admin.guild.create_text_channel("easel")
    desk = await sit_down(held_scene, admin, channel=easel)
    await desk.choose("model", "dev")
    channel = held_scene.app.client.get_channel(easel.id)
    assert isinstance(channel, discord.TextChannel)
    await channel.delete()
    await desk.click("reset", "model")
    assert await desk.store.channels(desk.guild_id) == []


async def test_another_server_has_settings_of_its_own(held_scene: Scene) -> None:
    elsewhere = held_scene.env.create_guild("Elsewhere")
    there = elsewhere.create_text_channel("pictures")
    stranger = add_moderator(held_scene, "stranger", elsewhere)
    here = await sit_down(held_scene)
    desk = await sit_down(held_scene, stranger, there)
    await here.choose("model", "krea")
    await desk.choose("model", "dev")
    assert texts(desk.message)[0].startswith("### Settings of Elsewhere\n")
    assert (await here.store.at(here.guild_id)).model == "krea"
    assert (await here.store.at(elsewhere.id)).model == "dev"
    assert len(await here.store.log(elsewhere.id, count=9)) == 1


async def test_the_last_page_tells_how_much_of_the_disk_is_used(held_scene: Scene) -> None:
    desk = await sit_down(held_scene)
    folder = held_scene.app.client.settings.data_dir
    (folder / "images" / "large").write_bytes(b"x" * 25_000_000)
    await desk.turn("Language and archive")
    # the database is a part of it
    assert re.fullmatch(r"-# The bot's data take 25\.\d MB on its disk\.", texts(desk.message)[-1])


def test_disk_use_counts_the_files_of_all_folders_and_no_links(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"x" * 1000)
    (tmp_path / "a" / "b" / "two").write_bytes(b"x" * 200)
    (tmp_path / "a" / "link").symlink_to("/")
    assert 1200 <= disk_use(tmp_path) < 1300
    assert disk_use(tmp_path / "missing") == 0
