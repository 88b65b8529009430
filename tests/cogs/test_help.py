"""`/help` as a member meets it: what is on here, with pictures, and what they may still do."""

from __future__ import annotations

import re

import pytest
import simcord

from bot.cogs._help_buttons import PURPOSES as BUTTON_PURPOSES
from bot.cogs._help_texts import BUTTONS, LIMITS, OVERVIEW, PURPOSES, TITLES
from bot.cogs._results import OFFERS, ROWS
from bot.examples import EXAMPLES, picture, thumbnail
from bot.inference.tools import TOOLS
from tests.catalogues import Catalogues
from tests.conftest import Scene, restarted
from tests.doubles import HeldExecutor

from .moderators import parts, texts
from .test_rules import set_rules

COMMANDS = list(dict.fromkeys(tool.command for tool in TOOLS.values()))

THUMBNAIL, SELECT, GALLERY = 11, 3, 12
"""Discord's numbers of components."""


async def ask(
    scene: Scene,
    topic: str | None = None,
    *,
    member: simcord.MemberActor | None = None,
    channel: simcord.ChannelHandle | None = None,
) -> simcord.ResponseMessage:
    options = {} if topic is None else {"topic": topic}
    member = member or scene.alice
    result = await member.slash(channel or scene.channel, "help", **options)
    assert result.response is not None
    assert result.response.ephemeral
    return result.response


def said(message: simcord.ResponseMessage) -> str:
    return "\n".join(texts(message))


def offered(message: simcord.ResponseMessage) -> list[str]:
    """Return what can be chosen below a page."""
    (select,) = [part for part in parts(message) if part["type"] == SELECT]
    return [option["value"] for option in select["options"]]


def commands(message: simcord.ResponseMessage) -> list[str]:
    """Return the commands that a page can be clicked for, in the order of their sections."""
    return re.findall(r"\*\*</(\w+):\d+>\*\*", said(message))


def limits(message: simcord.ResponseMessage) -> list[str]:
    """Return the sentences about the limits."""
    _, _, lines = said(message).partition("## Your limits here\n")
    return [line.removeprefix("- ") for line in lines.splitlines()]


async def choose(
    scene: Scene, message: simcord.ResponseMessage, topic: str
) -> simcord.InteractionResult:
    return await scene.alice.select(message, [topic])


# the tools


async def test_all_tools_are_there_each_with_its_purpose_and_its_models(held_scene: Scene) -> None:
    message = await ask(held_scene)
    assert commands(message) == COMMANDS
    assert all(PURPOSES[command] in said(message) for command in COMMANDS)
    assert "-# FLUX.1 schnell, FLUX.1 dev, FLUX.1 Krea\n" in said(message)
    assert offered(message) == [OVERVIEW, *COMMANDS, BUTTONS, LIMITS]


async def test_a_tool_that_is_switched_off_is_not_there(held_scene: Scene) -> None:
    await set_rules(held_scene, tools=["schnell", "krea", "fill"])
    message = await ask(held_scene)
    assert commands(message) == ["generate", "fill"]
    assert "-# FLUX.1 schnell, FLUX.1 Krea\n" in said(message)
    assert "Kontext" not in said(message)
    assert offered(message) == [OVERVIEW, "generate", "fill", BUTTONS, LIMITS]


async def test_a_tool_without_weights_is_not_there(scene: Scene) -> None:
    message = await ask(scene)
    assert commands(message) == COMMANDS
    assert "-# FLUX.1 schnell, FLUX.1 dev\n" in said(message)


async def test_a_channel_that_has_other_tools_says_so(held_scene: Scene) -> None:
    assert held_scene.channel.guild is not None
    sketches = held_scene.channel.guild.create_text_channel("sketches")
    await set_rules(held_scene, sketches.id, tools=["canny"])
    assert commands(await ask(held_scene, channel=sketches)) == ["canny"]
    assert commands(await ask(held_scene)) == COMMANDS


async def test_without_any_tool_it_says_that_and_the_rest(scene: Scene) -> None:
    await set_rules(scene, tools=["krea"])  # which the tiny family has no weights for
    message = await ask(scene)
    assert "No tool is switched on here. Whoever manages the server" in said(message)
    assert message.attachments == []
    assert limits(message)


async def test_commands_can_be_clicked_by_the_ids_that_discord_gave_them(
    held_scene: Scene,
) -> None:
    message = await ask(held_scene)
    there = {
        command.name: command.id for command in await held_scene.app.client.tree.fetch_commands()
    }
    for name, number in re.findall(r"</(\w+):(\d+)>", said(message)):
        assert there[name] == int(number)
    assert "</queue:" in said(message)
    assert "</settings:" not in said(message)


async def test_commands_whose_ids_are_not_known_are_named(held_scene: Scene) -> None:
    held_scene.app.client._note_ids([])
    assert "**`/generate`** " in said(await ask(held_scene))


# the pictures


async def test_every_section_has_a_small_picture_and_says_what_is_to_be_seen(
    held_scene: Scene,
) -> None:
    message = await ask(held_scene)
    shown = [part for part in parts(message) if part["type"] == THUMBNAIL]
    assert [each["description"] for each in shown] == [EXAMPLES[c].result for c in COMMANDS]
    for command, each, attachment in zip(COMMANDS, shown, message.attachments, strict=True):
        assert each["media"]["url"].endswith(f"/{command}.webp")
        assert await attachment.read() == thumbnail(command)


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_tool_has_a_large_picture_and_the_command_that_made_it(
    held_scene: Scene, command: str
) -> None:
    message = await ask(held_scene, command)
    (gallery,) = [part for part in parts(message) if part["type"] == GALLERY]
    (item,) = gallery["items"]
    assert item["description"] == EXAMPLES[command].description
    assert item["media"]["url"].endswith(f"/{command}.webp")
    (attachment,) = message.attachments
    assert await attachment.read() == picture(command)
    assert f"`{EXAMPLES[command].typed}`" in said(message)


# one tool


async def test_a_tool_tells_its_options_and_names_those_of_all(held_scene: Scene) -> None:
    text = said(await ask(held_scene, "redux"))
    assert "\n`strength` How much the images count, from 0.1 to 1.0; 1.0 if not given\n" in text
    assert "And as with all tools: `steps`, `guidance`, `seed`, `count`" in text
    assert "`seed` The same" not in text


async def test_a_tool_tells_the_defaults_and_bounds_of_this_server(held_scene: Scene) -> None:
    await set_rules(held_scene, steps={"dev": 12}, guidance={"dev": 2.5}, max_steps=20, model="dev")
    text = said(await ask(held_scene, "generate"))
    assert "**FLUX.1 schnell** · `steps` 4, from 1 to 12 · licence" in text
    assert (
        "**FLUX.1 dev** · is taken if you name no model · `steps` 12, from 1 to 20"
        " · `guidance` 2.5, from 0 to 10 · licence of the weights: FLUX.1-dev non-commercial"
    ) in text
    assert "licence of the weights: Apache-2.0\n" in text


async def test_the_tiny_models_are_under_the_licence_of_the_bot(scene: Scene) -> None:
    text = said(await ask(scene, "generate"))
    assert text.count("licence of the weights: MIT") == 2
    assert "The examples are by the tiny models that paint here." in text


async def test_how_long_it_takes_is_told_as_soon_as_that_is_known(
    held_scene: Scene, held: HeldExecutor
) -> None:
    assert "on this machine" not in said(await ask(held_scene, "generate"))
    await held_scene.begin()
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    text = said(await ask(held_scene, "generate"))
    assert "from 1 to 12 · about 1.0 s a picture on this machine · " in text


async def test_the_buttons_are_told_as_far_as_their_tools_are_on(held_scene: Scene) -> None:
    everything = said(await ask(held_scene, BUTTONS))
    assert "- **Again**: once more, with another seed\n" in everything
    assert "- **Zoom out 1.5×** · **Zoom out 2×**: more of what lies around it\n" in everything
    assert "**Paint it**" in everything
    await set_rules(held_scene, tools=["schnell", "redux"], quantization_locked=True)
    some = said(await ask(held_scene, BUTTONS))
    assert "**Vary subtly**" in some
    for label in ("Zoom", "Pan", "Edit", "Repaint", "Paint it", "Compare"):
        assert label not in some
    assert "**Delete**" in some


def test_every_button_of_a_picture_and_every_tool_is_explained() -> None:
    assert sorted(verb for verbs, _ in BUTTON_PURPOSES for verb in verbs) == sorted(
        verb for verb, offer in OFFERS.items() if offer.row < ROWS
    )
    assert sorted(PURPOSES) == sorted(COMMANDS)
    assert set(TITLES) == {OVERVIEW, BUTTONS, LIMITS, *COMMANDS}


# the select


async def test_another_page_is_chosen_also_after_a_restart(
    held_scene: Scene, held: HeldExecutor
) -> None:
    message = await ask(held_scene)
    async with restarted(held_scene, held_scene.app.client.settings, held) as scene:
        await choose(scene, message, "kontext")
        assert said(message).startswith("## </kontext:")
        assert [a.filename for a in message.attachments] == ["kontext.webp"]
        await choose(scene, message, LIMITS)
        assert limits(message)
        assert message.attachments == []
        await choose(scene, message, OVERVIEW)
        assert commands(message) == COMMANDS
        assert len(message.attachments) == len(COMMANDS)


async def test_the_page_that_is_shown_is_the_one_that_is_chosen(held_scene: Scene) -> None:
    message = await ask(held_scene, "fill")
    (select,) = [part for part in parts(message) if part["type"] == SELECT]
    assert [each["value"] for each in select["options"] if each.get("default")] == ["fill"]


async def test_a_tool_that_was_switched_off_meanwhile_leads_to_the_others(
    held_scene: Scene,
) -> None:
    message = await ask(held_scene)
    await set_rules(held_scene, tools=["schnell"])
    await choose(held_scene, message, "kontext")
    assert commands(message) == ["generate"]
    assert offered(message) == [OVERVIEW, "generate", BUTTONS, LIMITS]


# the limits


async def test_without_settings_the_limits_say_that_there_are_none(held_scene: Scene) -> None:
    assert limits(await ask(held_scene)) == [
        "You may ask for up to 4 pictures at a time, each in up to 50 steps, of up to 1024×1024"
        " pixels.",
        "`quantization` is 8-bit, unless you choose.",
        "You need not wait between two requests.",
        "0 jobs of yours wait, and 20 may.",
        "0 jobs wait in this server, and 200 may.",
        "You have used 0 s of the GPU in the last 24 hours, and there is no limit.",
        "For all of this server together there is no limit to the time on the GPU.",
    ]


async def test_the_limits_are_those_of_the_server_and_what_is_used_of_them(scene: Scene) -> None:
    await set_rules(
        scene,
        max_count=1,
        max_steps=10,
        max_size="small square",
        quantization="8-bit",
        quantization_locked=True,
        cooldown=3600,
        waiting_per_member=3,
        waiting_per_server=7,
        seconds_per_member=7200,
        seconds_per_server=14400,
    )
    await scene.generate(size="small square")
    shown = limits(await ask(scene, LIMITS))
    patterns = [
        r"You may ask for 1 picture at a time, in up to 10 steps, of up to 64×64 pixels\.",
        r"`quantization` is always 8-bit\.",
        r"Between two of your requests 1 h 0 min have to pass: \d+ (?:h \d+ )?min more until the"
        r" next one\.",
        r"0 jobs of yours wait, and 3 may\.",
        r"0 jobs wait in this server, and 7 may\.",
        r"You have 2 h 0 min of the GPU in 24 hours: (?!0 s)\d\S* \w+ are used or asked for,"
        r" \d h \d+ min are left\.",
        r"This server has 4 h 0 min of the GPU in 24 hours: (?!0 s)\d\S* \w+ are used or asked for,"
        r" \d h \d+ min are left\.",
    ]
    assert len(shown) == len(patterns)
    for pattern, sentence in zip(patterns, shown, strict=True):
        assert re.fullmatch(pattern, sentence), sentence


async def test_who_has_used_everything_up_reads_when_there_is_more(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await set_rules(held_scene, seconds_per_member=1, seconds_per_server=1)
    await held_scene.begin()  # it counts with five seconds as long as it runs
    mine, ours = limits(await ask(held_scene))[-2:]
    end = "Please wait until what you have asked for is done."
    assert mine == f"You have used up the 1 s that you have of the GPU in 24 hours. {end}"
    assert ours == f"This server has used up its 1 s of the GPU in 24 hours. {end}"
    await held.let_finish(0)
    await held_scene.app.jobs.idle()


async def test_what_waits_is_counted_each_for_its_own_member(
    held_scene: Scene, held: HeldExecutor
) -> None:
    for _ in range(3):
        await held_scene.begin()  # one of them runs
    await held.is_busy()
    assert "2 jobs of yours wait, and 20 may." in limits(await ask(held_scene))
    shown = limits(await ask(held_scene, member=held_scene.bob))
    assert "0 jobs of yours wait, and 20 may." in shown
    assert "2 jobs wait in this server, and 200 may." in shown
    for number in range(3):
        await held.let_finish(number)
    await held_scene.app.jobs.idle()


@pytest.mark.parametrize(
    ("factor", "shown"),
    [
        (3, ["12 may", "3 min of the GPU", "10 s have to pass", "are 3 times those of others"]),
        (0, ["wait, and there is no limit", "need not wait", "of members do not hold for you"]),
    ],
    ids=["more", "everything"],
)
async def test_a_role_has_more_and_says_so(
    held_scene: Scene, factor: int, shown: list[str]
) -> None:
    assert held_scene.channel.guild is not None
    role = held_scene.channel.guild.create_role("artists")
    carol = held_scene.channel.guild.add_member(held_scene.env.create_user("carol"), roles=[role])
    await set_rules(
        held_scene,
        role_factors={str(role.id): factor},
        waiting_per_member=4,
        seconds_per_member=60,
        cooldown=30,
    )
    hers = " ".join(limits(await ask(held_scene, LIMITS, member=carol)))
    others = " ".join(limits(await ask(held_scene, LIMITS)))
    for words in shown:
        assert words in hers
        assert words not in others
    assert "4 may" in others


async def test_who_may_not_use_the_bot_reads_why_and_is_helped_all_the_same(
    held_scene: Scene,
) -> None:
    await set_rules(held_scene, denied_channels=[held_scene.channel.id])
    message = await ask(held_scene)
    assert limits(message)[0] == (
        f"**The bot is switched off in <#{held_scene.channel.id}>. Use another channel.**"
    )
    assert commands(message) == COMMANDS


async def test_in_direct_messages_there_are_the_tools_and_no_server(held_scene: Scene) -> None:
    result = await held_scene.alice.user.slash("help")
    assert result.response is not None
    assert commands(result.response) == COMMANDS
    shown = limits(result.response)
    assert "0 jobs of yours wait, and 20 may." in shown
    assert not any("server" in sentence or "GPU" in sentence for sentence in shown)
    await held_scene.alice.user.select(result.response, ["kontext"])
    assert said(result.response).startswith("## </kontext:")


# what Discord takes


@pytest.mark.parametrize("topic", [OVERVIEW, *COMMANDS, BUTTONS, LIMITS])
async def test_no_page_is_more_than_discord_takes_whatever_is_set(
    held_scene: Scene, catalogues: Catalogues, topic: str
) -> None:
    catalogues.add_quoted("fr")  # every text is longer than in English
    catalogues.give(held_scene.alice, "fr")
    many = [10**17 + number for number in range(50)]
    tools = list(TOOLS)
    await set_rules(
        held_scene,
        allowed_channels=many,
        allowed_roles=many,
        blocked_words=["x" * 50],
        steps=dict.fromkeys(tools, 11),
        guidance={tool: 9.876543 for tool in tools if TOOLS[tool].guidance},
        role_factors={str(role): 1.234567 for role in many},
        seconds_per_member=86399,
        seconds_per_server=86399,
        cooldown=3599,
        waiting_per_member=99,
        waiting_per_server=999,
        quantization="None",
        quantization_locked=True,
    )
    message = await ask(held_scene, topic if topic != OVERVIEW else None)
    assert "« " in said(message)
    shown = parts(message)
    assert len(shown) <= 40
    assert len("".join(texts(message))) <= 4000
    assert len(message.attachments) <= 10
    for part in shown:
        described = part.get("items", []) + [part] * (part["type"] == THUMBNAIL)
        assert all(0 < len(each["description"]) <= 256 for each in described)
        for option in part.get("options", []):
            assert len(option["label"]) <= 100
            assert len(option["description"]) <= 100


async def test_the_topics_are_offered_before_anything_is_sent(held_scene: Scene) -> None:
    command = held_scene.app.client.tree.get_command("help")
    assert command is not None
    (option,) = command.to_dict(held_scene.app.client.tree)["options"]
    assert [choice["value"] for choice in option["choices"]] == [*COMMANDS, BUTTONS, LIMITS]
    assert option["choices"][0]["name"] == "/generate: a picture from words"
    assert not option.get("required", False)


async def test_every_text_is_in_the_language_of_the_member(
    held_scene: Scene, catalogues: Catalogues
) -> None:
    catalogues.add("fr", {"Your limits here": "Vos limites ici", "All tools": "Tous les outils"})
    catalogues.give(held_scene.alice, "fr")
    message = await ask(held_scene)
    assert "## Vos limites ici" in said(message)
    (select,) = [part for part in parts(message) if part["type"] == SELECT]
    assert select["options"][0]["label"] == "Tous les outils"
    assert "## Your limits here" in said(await ask(held_scene, member=held_scene.bob))
    await choose(held_scene, message, LIMITS)
    assert said(message).startswith("## Vos limites ici")
