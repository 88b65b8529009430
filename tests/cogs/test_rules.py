"""What a server has set, as its members meet it: each setting through a real command."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from typing import Any

import discord
import pytest
import simcord
from PIL import Image

from bot.inference.metadata import read_metadata
from bot.inference.types import Request
from tests.catalogues import Catalogues
from tests.conftest import Scene
from tests.doubles import HeldExecutor, result_for

from .messages import fields, mask, photo, refusal, restrict


def guild_id(scene: Scene) -> int:
    assert scene.channel.guild is not None
    return scene.channel.guild.id


async def set_rules(scene: Scene, channel_id: int = 0, **values: Any) -> None:
    store = scene.app.storage.settings
    await store.change(guild_id(scene), channel_id, values, user_id=scene.moderator.id)


async def asked(
    scene: Scene, held: HeldExecutor, command: str = "generate", **options: Any
) -> Request:
    """Send a command as Alice and return the request that reaches the models."""
    number = len(held.started)
    if command != "redux":
        options.setdefault("prompt", "a red circle")
    await scene.alice.slash(scene.channel, command, **options)
    await held.let_finish(number)
    await scene.app.jobs.idle()
    return held.started[number]


async def refused(scene: Scene, member: simcord.MemberActor | None = None, **options: Any) -> str:
    """Send `/generate`, as Alice if nobody else is named, and return the one sentence."""
    options.setdefault("prompt", "a red circle")
    channel = options.pop("channel", scene.channel)
    return refusal(scene, await (member or scene.alice).slash(channel, "generate", **options))


async def test_the_defaults_of_generate_are_the_servers(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await set_rules(
        held_scene,
        model="dev",
        size="portrait",
        quantization="None",
        steps={"dev": 12},
        guidance={"dev": 2.0},
    )
    request = await asked(held_scene, held)
    assert (request.tool, request.width, request.height) == ("dev", 832, 1216)
    assert (request.num_inference_steps, request.guidance_scale) == (12, 2.0)
    assert request.quantization == "None"
    chosen = await asked(held_scene, held, model="schnell", size="wide", quantization="8-bit")
    assert (chosen.tool, chosen.width, chosen.quantization) == ("schnell", 1344, "8-bit")


@pytest.mark.parametrize("command", ["fill", "kontext", "depth", "canny", "redux"])
async def test_the_defaults_of_each_tool_are_the_servers(
    held_scene: Scene, held: HeldExecutor, command: str
) -> None:
    await set_rules(held_scene, steps={command: 7}, guidance={command: 4.5})
    options: dict[str, Any] = {"image": photo()}
    if command == "fill":
        options |= {"mask": mask(), "preview": "off"}
    request = await asked(held_scene, held, command, **options)
    assert (request.num_inference_steps, request.guidance_scale) == (7, 4.5)


async def test_what_one_server_sets_another_does_not_have(
    held_scene: Scene, held: HeldExecutor
) -> None:
    store = held_scene.app.storage.settings
    await store.change(guild_id(held_scene) + 1, 0, {"model": "krea"}, user_id=1)
    assert (await asked(held_scene, held)).tool == "schnell"


async def test_a_channel_may_differ_from_its_server(held_scene: Scene, held: HeldExecutor) -> None:
    await set_rules(held_scene, model="dev")
    await set_rules(held_scene, held_scene.channel.id, model="krea")
    assert (await asked(held_scene, held)).tool == "krea"
    assert held_scene.channel.guild is not None
    other = held_scene.channel.guild.create_text_channel("elsewhere")
    await held_scene.alice.slash(other, "generate", prompt="a red circle")
    await held.let_finish(1)
    await held_scene.app.jobs.idle()
    assert held.started[1].tool == "dev"


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        ({"tools": ["dev"]}, {}, "FLUX.1 schnell is switched off here. There is FLUX.1 dev."),
        (
            {"quantization": "8-bit", "quantization_locked": True},
            {"quantization": "None"},
            "`quantization` is always 8-bit here. Ask without it.",
        ),
        (
            {"max_size": "small square"},
            {"size": "wide"},
            "1344×768 pixels are more than is allowed here. Choose `size:small square`.",
        ),
        (
            {"max_steps": 10},
            {"model": "dev", "steps": 20},
            "`steps` is 20, but it goes from 1 to 10 here."
            " Choose a value in between, or leave it out.",
        ),
        (
            {"max_count": 1},
            {"count": 2},
            "`count` is 2, and 1 at most is allowed here. Ask for fewer.",
        ),
        (
            {"blocked_words": ["circle"]},
            {},
            "The prompt holds something that is not allowed here. Reword it.",
        ),
        (
            {"blocked_patterns": ["c[il]rcle$"]},
            {},
            "The prompt holds something that is not allowed here. Reword it.",
        ),
        (
            {"age_restricted_only": True},
            {},
            "In this server the bot works in age-restricted channels alone. Use one of them.",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) and value else None,
)
async def test_what_is_not_allowed_is_one_private_sentence_and_no_work(
    held_scene: Scene,
    held: HeldExecutor,
    values: dict[str, Any],
    options: dict[str, Any],
    sentence: str,
) -> None:
    await set_rules(held_scene, **values)
    assert await refused(held_scene, **options) == sentence
    assert held.started == []
    assert held_scene.channel.history(viewer=held_scene.bob) == []


async def test_with_fewer_steps_allowed_the_default_is_no_more(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await set_rules(held_scene, max_steps=10)
    assert (await asked(held_scene, held, model="dev")).num_inference_steps == 10


async def test_a_picture_like_a_photo_stays_within_the_largest_size(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await set_rules(held_scene, max_size="small square")
    request = await asked(held_scene, held, "kontext", image=photo((300, 200)))
    assert request.max_pixels == 512 * 512


async def test_waiting_jobs_are_capped_for_a_member_and_for_the_server(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await set_rules(held_scene, waiting_per_member=1, waiting_per_server=2)
    await held_scene.begin(seed=1)
    await held.is_busy()
    await held_scene.begin(seed=2)
    assert "You have 1 job waiting already." in await refused(held_scene, seed=3)
    await held_scene.bob.slash(held_scene.channel, "generate", prompt="a red circle", seed=4)
    sentence = await refused(held_scene, held_scene.moderator, seed=5)
    assert "This server has 2 jobs waiting already." in sentence


async def test_the_seconds_of_a_day_are_those_of_the_jobs(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await set_rules(held_scene, seconds_per_member=100)
    await asked(held_scene, held)
    await held_scene.app.storage._database.change("UPDATE usage SET seconds = 100")
    sentence = await refused(held_scene)
    assert "You have used up the time on the GPU for 24 hours, 2 min." in sentence
    until = int(sentence.partition("<t:")[2].partition(":")[0])
    assert until == pytest.approx(time.time() + 86400, abs=60)
    await set_rules(held_scene, seconds_per_member=0, seconds_per_server=100)
    assert "This server has used" in await refused(held_scene, held_scene.bob)


async def test_a_cooldown_lets_others_ask(held_scene: Scene, held: HeldExecutor) -> None:
    await set_rules(held_scene, cooldown=600)
    await asked(held_scene, held)
    assert (await refused(held_scene)).startswith("Here 10 min pass between two requests.")
    await held_scene.bob.slash(held_scene.channel, "generate", prompt="a red circle")
    await held.let_finish(1)
    await held_scene.app.jobs.idle()


async def test_a_role_lifts_the_limits(held_scene: Scene, held: HeldExecutor) -> None:
    guild = held_scene.channel.guild
    assert guild is not None
    staff = guild.create_role("staff")
    carol = guild.add_member(held_scene.env.create_user("carol"), roles=[staff])
    await set_rules(held_scene, waiting_per_member=1, role_factors={staff.id: 0})
    for seed in range(4):
        await carol.slash(held_scene.channel, "generate", prompt="a red circle", seed=seed)
        await held.is_busy()
    assert len(await held_scene.app.jobs.places()) == 3


async def test_roles_say_who_may_use_the_bot(held_scene: Scene) -> None:
    guild = held_scene.channel.guild
    assert guild is not None
    artists = guild.create_role("artists")
    await set_rules(held_scene, allowed_roles=[artists.id])
    sentence = await refused(held_scene)
    assert sentence.startswith(f"Here the bot is for members with the role <@&{artists.id}>.")
    await set_rules(held_scene, allowed_roles=[], denied_roles=[guild.id])
    assert "may not use the bot here" in await refused(held_scene)


async def test_channels_say_where(held_scene: Scene, held: HeldExecutor) -> None:
    guild = held_scene.channel.guild
    assert guild is not None
    category = guild.create_category("art")
    inside = guild.create_text_channel("inside", category=category)
    await set_rules(held_scene, allowed_channels=[category.id])
    assert f"Use <#{category.id}>." in await refused(held_scene)
    await held_scene.alice.slash(inside, "generate", prompt="a red circle")
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    await set_rules(held_scene, denied_channels=[inside.id])
    sentence = await refused(held_scene, channel=inside)
    assert f"switched off in <#{inside.id}>" in sentence


async def test_a_banned_member_learns_why(held_scene: Scene, held: HeldExecutor) -> None:
    await set_rules(held_scene, banned_members={held_scene.alice.id: {"reason": "flooding"}})
    sentence = await refused(held_scene)
    assert sentence.startswith("You may not use the bot in this server: flooding.")
    assert held.started == []


async def test_a_server_may_fix_the_language_that_is_else_each_members_own(
    held_scene: Scene, held: HeldExecutor, catalogues: Catalogues
) -> None:
    catalogues.add(
        "fr",
        {
            "{tool} is switched off here.": "{tool} est désactivé ici.",
            "There is {tools}.": "Il y a {tools}.",
        },
    )
    catalogues.give(held_scene.alice, "fr")
    english = "FLUX.1 schnell is switched off here. There is FLUX.1 dev."
    french = "FLUX.1 schnell est désactivé ici. Il y a FLUX.1 dev."
    await set_rules(held_scene, tools=["dev"])
    assert await refused(held_scene) == french
    assert await refused(held_scene, held_scene.bob) == english
    assert (await asked(held_scene, held, model="dev")).language == "fr"
    await set_rules(held_scene, language="en")
    assert await refused(held_scene) == english
    assert (await asked(held_scene, held, model="dev")).language == "en"
    await set_rules(held_scene, language="fr")
    assert await refused(held_scene, held_scene.bob) == french


@pytest.mark.parametrize(
    ("setting", "asked_for", "hidden"),
    [("always", False, True), ("never", True, False), ("as asked", True, True)],
)
async def test_spoilers_are_the_servers(
    scene: Scene, setting: str, asked_for: bool, hidden: bool
) -> None:
    await set_rules(scene, spoiler=setting)
    message = await scene.generate(size="small square", spoiler=asked_for)
    assert message.attachments[0].is_spoiler() is hidden


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("full", 2), ("short", 1), ("off", 0)],
)
async def test_an_answer_tells_as_much_of_the_memory_as_the_server_wants(
    scene: Scene, kind: str, shown: int
) -> None:
    await set_rules(scene, memory_line=kind)
    told = fields(await scene.generate(size="small square")).get("Memory", "")
    assert len(told.splitlines()) == shown


async def test_pictures_come_in_the_servers_format_and_quality(scene: Scene) -> None:
    sizes = {}
    for kind, quality in (("PNG", 90), ("WebP", 95), ("WebP", 50), ("JPEG", 90)):
        await set_rules(scene, file_format=kind, quality=quality)
        (file,) = (await scene.generate(size="square", seed=1)).attachments
        content = await file.read()
        assert Image.open(io.BytesIO(content)).format == kind.upper()
        said = read_metadata(content)
        assert said is not None
        assert said["seed"] == 1
        sizes[kind, quality] = len(content)
    assert sizes["WebP", 50] < sizes["WebP", 95] < sizes["PNG", 90]


async def test_several_pictures_come_as_one_where_the_server_wants_a_grid(scene: Scene) -> None:
    await set_rules(scene, layout="grid")
    (file,) = (await scene.generate(size="small square", count=3)).attachments
    width, height = Image.open(io.BytesIO(await file.read())).size
    assert (width // 64, height // 64) == (2, 2)


async def test_what_is_public_is_copied_to_the_archive(scene: Scene) -> None:
    assert scene.channel.guild is not None
    archive = scene.channel.guild.create_text_channel("archive")
    await set_rules(scene, archive_channel=archive.id)
    await scene.generate(size="small square", private=True)
    await scene.generate(size="small square")
    await scene.app.delivery.close()  # which waits for what is under way
    (copy,) = archive.history()
    assert len(copy.attachments) == 1
    assert f"<@{scene.alice.id}>" in str([embed.to_dict() for embed in copy.embeds])


@pytest.mark.parametrize(
    ("rules", "left", "said"),
    [
        ({"classifier": "withhold"}, [], "withheld"),
        ({"classifier": "blur"}, ["SPOILER_schnell-1-1.png"], "blurred"),
        ({"classifier": "withhold", "classifier_threshold": 95}, ["schnell-1-1.png"], ""),
        ({}, ["schnell-1-1.png"], ""),
    ],
    ids=["withhold", "blur", "not that sure", "off"],
)
async def test_a_picture_that_the_classifier_is_sure_of_is_blurred_or_withheld(
    held_scene: Scene, held: HeldExecutor, rules: dict[str, Any], left: list[str], said: str
) -> None:
    await set_rules(held_scene, **rules)
    message = await held_scene.begin(seed=1)
    await held.is_busy()
    (request,) = held.started
    assert request.classify is bool(rules)
    _, picture = photo()
    unsafe = (0.9,) if rules else ()
    held.events.put_nowait(replace(result_for(request), images=(picture,), unsafe=unsafe))
    await held_scene.app.jobs.idle()
    assert [file.filename for file in message.attachments] == left
    assert said in fields(message).get("Note", "")


async def test_age_restricted_channels_are_spared_unless_the_server_says_otherwise(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await restrict(held_scene, held_scene.channel)
    await set_rules(held_scene, classifier="withhold", age_restricted_only=True)
    assert not (await asked(held_scene, held)).classify
    await set_rules(held_scene, classifier_spares_age_restricted=False)
    assert (await asked(held_scene, held, seed=2)).classify


async def test_what_has_had_its_days_is_swept_away(scene: Scene) -> None:
    await scene.generate(size="small square", seed=1)
    await scene.generate(size="small square", seed=2)
    storage, day = scene.app.storage, 86400
    await storage._database.change(
        "UPDATE jobs SET finished_at = finished_at - ?, message_id = message_id - ? WHERE id = 1",
        8 * day,
        (8 * day * 1000) << 22,
    )
    await scene.app.retention.sweep()
    assert len(list((scene.app.client.settings.data_dir / "images").iterdir())) == 2
    await set_rules(scene, keep_days=7)
    await scene.app.retention.sweep()
    (left,) = (scene.app.client.settings.data_dir / "images").iterdir()
    assert left.name == "00000002-1.png"


async def test_answers_are_private_by_default_where_the_server_says_so(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await set_rules(held_scene, private=True)
    assert (await held_scene.begin(seed=1)).ephemeral
    assert not (await held_scene.begin(seed=2, private=False)).ephemeral


async def test_where_the_bot_may_not_attach_files_nothing_is_painted(
    held_scene: Scene, held: HeldExecutor
) -> None:
    guild = held_scene.channel.guild
    assert guild is not None
    me = held_scene.app.client.user
    assert me is not None
    mute = discord.PermissionOverwrite(attach_files=False, send_messages=False)
    shut = guild.create_text_channel("shut", overwrites={me: mute})
    sentence = await refused(held_scene, channel=shut)
    assert sentence.startswith("The bot may not send messages or attach files in this channel.")
    assert held.started == []
    private = await held_scene.alice.slash(shut, "generate", prompt="a red circle", private=True)
    assert private.response is not None
    assert private.response.ephemeral
    await held.is_busy()


async def test_the_preview_of_a_mask_and_its_painting_are_one_request_for_the_cooldown(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await set_rules(held_scene, cooldown=600)
    result = await held_scene.alice.slash(
        held_scene.channel, "fill", image=photo(), mask=mask(), prompt="a hat"
    )
    assert result.response is not None
    await held_scene.alice.click(result.response, label="Paint it")
    await held.is_busy()
    assert "Here 10 min pass" in await refused(held_scene)


async def test_a_rule_that_came_between_preview_and_painting_holds(
    held_scene: Scene, held: HeldExecutor
) -> None:
    result = await held_scene.alice.slash(
        held_scene.channel, "fill", image=photo(), mask=mask(), prompt="a hat"
    )
    assert result.response is not None
    await set_rules(held_scene, tools=["schnell"])
    clicked = await held_scene.alice.click(result.response, label="Paint it")
    (sentence,) = (each.content for each in clicked.followups)
    assert sentence.startswith("FLUX.1 Fill is switched off here.")
    assert held.started == []
