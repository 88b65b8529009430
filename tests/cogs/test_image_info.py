"""“Image info” as members meet it: on the bot's own results, and on anybody's pictures."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import discord
import pytest
import simcord
from PIL import Image, PngImagePlugin

from bot.inference.previews import MaskPreviews
from bot.records import Job
from tests.cogs.messages import button_labels, description, fields, photo, refusal, restrict
from tests.conftest import Scene, restarted
from tests.doubles import HeldExecutor
from tests.hostile import HOSTILE
from tests.records import REQUEST, has_begun, made

A1111 = """a @everyone castle
Negative prompt: fog
Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 42, Size: 512x512, Model: sd"""


def saying(parameters: str) -> bytes:
    """Return a picture that says how it was made."""
    text, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text("parameters", parameters, zip=True)
    Image.new("RGB", (96, 64)).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


async def info(
    scene: Scene, message: Any, member: simcord.MemberActor | None = None
) -> simcord.InteractionResult:
    return await (member or scene.alice).context_menu(scene.channel, "Image info", message)


async def told(
    scene: Scene, message: Any, member: simcord.MemberActor | None = None
) -> simcord.ResponseMessage:
    result = await info(scene, message, member)
    assert result.response is not None
    assert result.response.ephemeral
    return result.response


async def values(message: simcord.ResponseMessage) -> dict[str, Any]:
    """Return what the JSON file of an answer says."""
    (attachment,) = message.attachments
    read: dict[str, Any] = json.loads(await attachment.read())
    return read


async def painted(scene: Scene, held: HeldExecutor, **options: Any) -> simcord.ResponseMessage:
    message = await scene.begin(**options)
    await held.let_finish(0)
    await scene.app.jobs.idle()
    return message


async def family(scene: Scene, **about: Any) -> tuple[Job, Job]:
    """Return a job, and Alice's that was made from its picture, as rows of the scene's server."""
    await has_begun(scene.app.jobs)
    here = {"guild_id": scene.channel.guild.id, "channel_id": scene.channel.id}
    storage = scene.app.storage
    parent = await made(storage, **({"user_id": scene.alice.id, "message_id": 5} | here | about))
    (picture,) = (await storage.result(parent)).images
    edit = replace(REQUEST, tool="kontext", prompt="make it red", images={"image": picture})
    channel = scene.app.client.get_channel(scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    message = await channel.send("the edited picture")
    mine = {"user_id": scene.alice.id, "message_id": message.id}
    return parent, await made(storage, request=edit, **(mine | here))


async def posted(scene: Scene, job: Job) -> discord.Message:
    channel = scene.app.client.get_channel(scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    return await channel.fetch_message(job.origin.message_id)


async def test_of_our_own_everything_is_told_also_to_others(
    held_scene: Scene, held: HeldExecutor
) -> None:
    message = await painted(held_scene, held, seed=7, model="dev", steps=9, guidance=2.5)
    answer = await told(held_scene, message, held_scene.bob)
    shown = fields(answer)
    assert answer.embeds[0].title == "FLUX.1 dev · job 1"
    assert description(answer) == "> a large red circle on a blue background"
    assert (shown["Seed"], shown["Steps"], shown["Guidance"]) == ("7", "9", "2.5")
    (job,) = await held_scene.app.storage.last_made(1)
    assert shown["Asked"] == f"<t:{job.created_at:.0f}:R>"
    assert shown["Quantization"] == "8-bit"
    assert shown["Versions"] == "not noted at that time"
    assert "denoise" in shown["Time"]
    assert "peak" in shown["Memory"]
    found = await values(answer)
    assert found["request"]["prompt"] == "a large red circle on a blue background"
    assert found["outcome"]["seeds"] == [7]
    assert str(held_scene.alice.id) not in json.dumps(found)
    assert button_labels(answer) == []


async def test_what_it_was_made_with_is_told_where_it_was_noted(
    held_scene: Scene, held: HeldExecutor
) -> None:
    message = await painted(held_scene, held, seed=7)
    made_with = {
        "model": "black-forest-labs/FLUX.1-schnell",
        "revision": "abc",
        "kernel": "fused",
        "dtype": "bfloat16",
        "device": "NVIDIA H100",
        "torch": "2.11",
        "bot": "1",
    }
    await held_scene.app.storage._database.change(
        "UPDATE jobs SET outcome = json_set(outcome, '$.made_with', json(?))", json.dumps(made_with)
    )
    shown = fields(await told(held_scene, message))
    assert shown["Model"] == "black-forest-labs/FLUX.1-schnell"
    assert (shown["Revision"], shown["Kernel"], shown["Device"]) == ("abc", "fused", "NVIDIA H100")
    assert shown["Versions"] == "torch 2.11, bot 1"


async def test_a_result_that_is_shown_again_is_known_too(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held, seed=7)
    channel = held_scene.app.client.get_channel(held_scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    gallery = discord.ui.LayoutView().add_item(
        discord.ui.Container(discord.ui.TextDisplay("-# Job 1"))
    )
    for again in (
        await channel.send(embed=discord.Embed(title="x").set_footer(text="Job 1")),
        await channel.send(view=gallery),
    ):
        assert fields(await told(held_scene, again))["Seed"] == "7"
    none = await channel.send(embed=discord.Embed(title="x").set_footer(text="Job 99"))
    assert "no pictures" in refusal(held_scene, await info(held_scene, none))


async def test_a_private_job_is_nobody_elses_to_ask_for(
    held_scene: Scene, held: HeldExecutor
) -> None:
    await painted(held_scene, held, private=True)
    channel = held_scene.app.client.get_channel(held_scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    named = await channel.send(embed=discord.Embed(title="x").set_footer(text="Job 1"))
    await held_scene.app.storage._database.change("UPDATE jobs SET message_id = ?", named.id)
    for member in (held_scene.bob, held_scene.moderator):
        result = await info(held_scene, named, member)
        assert "This message has no pictures." in refusal(held_scene, result)
    assert await told(held_scene, named, held_scene.alice)


async def test_the_chain_is_told_with_links_and_undo_shows_the_parent(held_scene: Scene) -> None:
    parent, child = await family(held_scene)
    answer = await told(held_scene, await posted(held_scene, child))
    origin = parent.origin
    link = f"https://discord.com/channels/{origin.guild_id}/{origin.channel_id}/{origin.message_id}"
    assert fields(answer)["Made from"] == f"[Job {parent.id} · FLUX.1 schnell]({link})"
    assert button_labels(answer) == ["Undo"]
    result = await held_scene.alice.click(answer, label="Undo")
    assert result.response is not None
    assert result.response.ephemeral
    assert [each.filename for each in result.response.attachments] == ["schnell-1-1.png"]


async def test_undo_works_after_a_restart(held_scene: Scene, held: HeldExecutor) -> None:
    _, child = await family(held_scene)
    answer = await told(held_scene, await posted(held_scene, child))
    async with restarted(held_scene, held_scene.app.client.settings, held) as scene:
        result = await scene.alice.click(answer, label="Undo")
        assert result.response is not None
        assert len(result.response.attachments) == 1


async def test_a_parent_in_a_channel_that_is_closed_to_them_is_not_told(
    held_scene: Scene,
) -> None:
    guild = held_scene.channel.guild
    closed = guild.create_text_channel(
        "closed", overwrites={guild.default_role: discord.PermissionOverwrite(view_channel=False)}
    )
    parent, child = await family(held_scene, channel_id=closed.id)
    theirs = await told(held_scene, await posted(held_scene, child), held_scene.bob)
    assert fields(theirs)["Made from"] == "A job that you cannot see"
    assert button_labels(theirs) == []
    forged = await _button(held_scene, parent.id)
    result = await held_scene.bob.click(forged, label="Undo")
    assert result.response is not None
    assert result.response.content.startswith("This job is not in your history here")


@pytest.mark.parametrize("kind", ["age-restricted", "without history"])
async def test_a_parent_in_a_channel_that_is_not_to_be_read_there_is_not_told(
    held_scene: Scene, kind: str
) -> None:
    guild = held_scene.channel.guild
    history = discord.PermissionOverwrite(read_message_history=kind == "age-restricted")
    hidden = guild.create_text_channel("other", overwrites={guild.default_role: history})
    if kind == "age-restricted":
        await restrict(held_scene, hidden)
    _, child = await family(held_scene, channel_id=hidden.id)
    message = await posted(held_scene, child)
    theirs = await told(held_scene, message, held_scene.bob)
    assert fields(theirs)["Made from"] == "A job that you cannot see"
    assert button_labels(theirs) == []
    assert button_labels(await told(held_scene, message)) == ["Undo"]


async def test_it_is_told_how_many_were_made_from_a_picture(held_scene: Scene) -> None:
    parent, child = await family(held_scene)
    for count in ("1 later job", "2 later jobs"):
        channel = held_scene.app.client.get_channel(held_scene.channel.id)
        assert isinstance(channel, discord.TextChannel)
        named = await channel.send(embed=discord.Embed().set_footer(text=f"Job {parent.id}"))
        assert fields(await told(held_scene, named))["Taken up by"] == count
        again = await made(held_scene.app.storage)
        await held_scene.app.storage._database.change(
            "INSERT INTO parents VALUES (?, ?)", again.id, parent.id
        )
    assert child.parents == (parent.id,)


async def test_a_private_parent_is_told_to_its_member_alone(held_scene: Scene) -> None:
    parent, child = await family(held_scene, private=True)
    mine = await told(held_scene, await posted(held_scene, child))
    assert fields(mine)["Made from"] == "Job 1 · FLUX.1 schnell · only you saw it"
    assert button_labels(mine) == ["Undo"]
    for member in (held_scene.bob, held_scene.moderator):
        theirs = await told(held_scene, await posted(held_scene, child), member)
        assert fields(theirs)["Made from"] == "A job that you cannot see"
        forged = await _button(held_scene, parent.id)
        result = await member.click(forged, label="Undo")
        assert result.response is not None
        assert result.response.content.startswith("This job is not in your history here")


async def test_a_parent_whose_pictures_are_not_kept_is_a_sentence(held_scene: Scene) -> None:
    _, child = await family(held_scene)
    answer = await told(held_scene, await posted(held_scene, child))
    await held_scene.app.storage.disposal.delete_files(0)
    result = await held_scene.alice.click(answer, label="Undo")
    assert result.response is not None
    assert result.response.content.startswith("The pictures of job 1 are not kept any more.")


async def _button(scene: Scene, job_id: int) -> discord.Message:
    channel = scene.app.client.get_channel(scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    button: discord.ui.Button[discord.ui.View] = discord.ui.Button(
        label="Undo", custom_id=f"undo:{job_id}"
    )
    return await channel.send(view=discord.ui.View().add_item(button))


async def test_size_format_and_parameters_of_anybodys_picture_are_told_as_plain_text(
    held_scene: Scene,
) -> None:
    file = ("castle.png", saying(A1111))
    message = await held_scene.bob.send(held_scene.channel, "look", attachments=[file])
    answer = await told(held_scene, message)
    shown = fields(answer)["Picture 1: 96×64, PNG"]
    assert "Seed: 42" in shown
    assert "Negative prompt: fog" in shown
    assert "@everyone" not in shown
    assert (await values(answer))["picture 1"]["Steps"] == "20"


async def test_a_picture_that_says_nothing_of_itself_has_its_size(held_scene: Scene) -> None:
    message = await held_scene.bob.send(held_scene.channel, "look", attachments=[photo()])
    answer = await told(held_scene, message)
    assert fields(answer) == {"Picture 1: 128×128, PNG": "It does not say how it was made."}
    assert answer.attachments == []


async def test_a_file_of_anybody_is_read_in_no_process_that_has_the_token(
    held_scene: Scene,
) -> None:
    message = await held_scene.bob.send(held_scene.channel, "look", attachments=[photo()])
    await told(held_scene, message)
    async with MaskPreviews(seconds=0) as hurried:
        held_scene.app.client.previews = hurried
        sentence = refusal(held_scene, await info(held_scene, message))
    assert sentence.startswith("The attached picture takes too long to read.")


async def test_a_message_without_pictures_is_one_sentence(held_scene: Scene) -> None:
    for attachments in ([], [("notes.txt", b"hello")]):
        message = await held_scene.bob.send(held_scene.channel, "hi", attachments=attachments)
        sentence = refusal(held_scene, await info(held_scene, message))
        assert sentence == "This message has no pictures. Choose one that has."


async def test_no_hostile_file_gets_more_than_one_sentence(held_scene: Scene) -> None:
    for name, hostile in HOSTILE.items():
        file = ("photo.png", hostile.data)
        message = await held_scene.bob.send(held_scene.channel, "look", attachments=[file])
        result = await info(held_scene, message)
        assert result.response is not None
        assert result.response.ephemeral
        assert "reference" not in result.response.content, name
        assert len(result.response.content.splitlines()) <= 1, name
    assert held_scene.env.errors


@pytest.mark.parametrize(
    "parameters", ["x" * 70_000, "Steps: " * 9000, "\n" * 5000, "a, b: " * 8000]
)
async def test_long_parameters_are_cut(held_scene: Scene, parameters: str) -> None:
    file = ("photo.png", saying(parameters))
    message = await held_scene.bob.send(held_scene.channel, "look", attachments=[file] * 12)
    answer = await told(held_scene, message)
    assert len(answer.embeds[0]) <= 6000
    assert answer.embeds[0].footer.text == "These are the first 10 of 12 pictures."
