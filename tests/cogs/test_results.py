"""What is pressed below a picture, with the real tiny models, from result to result."""

from __future__ import annotations

import dataclasses
from typing import Any

import discord
import numpy as np
import pytest
import simcord
from PIL import Image

from bot.cogs._results import OFFERS, ROWS, ResultButton
from bot.config import Settings
from bot.inference import masks
from bot.inference.executor import LocalExecutor
from bot.records import Job
from tests.cogs.messages import answer, button_labels, description, photo
from tests.conftest import Scene, picture, restarted
from tools.train_tiny.scoring import read_picture

SUBJECT = "a large red circle on a blue background"
ALL = [offer.label for offer in OFFERS.values() if offer.row < ROWS]
ASKING = {
    "Edit": {"prompt": "make the circle green"},
    "Repaint": {"area": "right half", "prompt": "a green star on a blue background"},
    "Remix": {"prompt": SUBJECT, "steps": "4", "guidance": "2.5", "seed": "8"},
}
"""What is typed where a button asks."""
GROWING = ("Vary", "Zoom", "Pan")
FEW = {"fill": 2, "kontext": 6, "redux": 4}
"""Steps enough for pictures in the right colours, where somebody looks at them."""


@pytest.fixture
async def scene(scene: Scene) -> Scene:
    """The bot on a server where a button takes few steps."""
    await set_rules(scene, steps=FEW)
    return scene


async def press(
    scene: Scene,
    message: simcord.ResponseMessage,
    label: str,
    member: simcord.MemberActor | None = None,
) -> simcord.ResponseMessage:
    """Press a button, as Alice if nobody else is named, and return what came of it."""
    result = await (member or scene.alice).click(message, label=label)
    await scene.app.jobs.idle()
    assert result.response is not None
    return result.response


async def submit(
    scene: Scene,
    message: simcord.ResponseMessage,
    label: str,
    values: dict[str, Any],
    member: simcord.MemberActor | None = None,
) -> simcord.ResponseMessage:
    """Press a button that asks something, answer, and return what came of it."""
    member = member or scene.alice
    shown = await member.click(message, label=label)
    result = await member.submit_modal(shown, values)
    await scene.app.jobs.idle()
    assert result.response is not None
    return result.response


async def set_rules(scene: Scene, **values: Any) -> None:
    store, guild_id = scene.app.storage.settings, scene.channel.guild.id
    await store.change(guild_id, 0, values, user_id=scene.moderator.id)


async def job_of(scene: Scene, message: simcord.ResponseMessage) -> Job:
    job = await scene.app.storage.history.of_message(message.id)
    assert job is not None
    return job


async def pixels(message: simcord.ResponseMessage) -> np.ndarray[Any, Any]:
    return np.asarray(picture(await message.attachments[0].read()))


async def test_a_result_offers_everything_that_can_be_made_of_it(scene: Scene) -> None:
    message = await scene.generate(seed=7)
    assert button_labels(message) == ALL
    assert all(len(row["components"]) <= 5 for row in message.components)
    assert len(message.components) <= 5


async def test_again_makes_the_same_order_for_another_seed(scene: Scene) -> None:
    first = await scene.generate(seed=7, steps=3, size="portrait", spoiler=True)
    before = await job_of(scene, first)
    after = await job_of(scene, await press(scene, first, "Again"))
    assert after.request.seed != 7
    assert dataclasses.replace(after.request, seed=7) == before.request
    assert after.origin.spoiler


@pytest.mark.parametrize("label", ["Vary subtly", "Vary strongly"])
async def test_variations_take_after_the_picture(scene: Scene, label: str) -> None:
    message = await press(scene, await scene.generate(seed=7), label)
    job = await job_of(scene, message)
    assert job.request.tool == "redux"
    assert job.parents == (1,)
    assert read_picture(picture(await message.attachments[0].read())).background == "blue"


async def test_a_strong_variation_leaves_more_to_the_words(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    subtle = await job_of(scene, await press(scene, first, "Vary subtly"))
    strong = await job_of(scene, await press(scene, first, "Vary strongly"))
    assert (subtle.request.strength, strong.request.strength) == (1.0, 0.5)
    assert strong.request.prompt == SUBJECT


async def test_edit_changes_what_it_says(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    second = await submit(scene, first, "Edit", {"prompt": "make the circle green"})
    reading = read_picture(picture(await second.attachments[0].read()))
    assert reading.colour == "green"
    assert reading.background == "blue"


@pytest.mark.parametrize(
    ("label", "size", "left", "top"),
    [
        ("Zoom out 1.5×", (192, 192), 32, 32),
        ("Zoom out 2×", (256, 256), 64, 64),
        ("Pan ←", (192, 128), 64, 0),
        ("Pan →", (192, 128), 0, 0),
        ("Pan ↑", (128, 192), 0, 64),
        ("Pan ↓", (128, 192), 0, 0),
    ],
)
async def test_what_is_grown_keeps_the_picture_pixel_for_pixel(
    scene: Scene, label: str, size: tuple[int, int], left: int, top: int
) -> None:
    first = await scene.generate(seed=7)
    second = await press(scene, first, label)
    before, after = await pixels(first), await pixels(second)
    assert after.shape == (size[1], size[0], 3)
    assert np.array_equal(after[top : top + 128, left : left + 128], before)


async def test_repaint_shows_its_mask_first_and_then_changes_that_part_alone(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    values = {"area": "right half", "prompt": "a green star on a blue background"}
    preview = await submit(scene, first, "Repaint", values)
    assert preview.ephemeral
    assert "Paint it" in button_labels(preview)
    result = await scene.alice.click(preview, label="Paint it")
    await scene.app.jobs.idle()
    before, after = await pixels(first), await pixels(result.followups[0])
    assert np.array_equal(after[:, :64], before[:, :64])
    assert not np.array_equal(after[:, 64:], before[:, 64:])


async def test_repaint_finds_what_words_name(scene: Scene) -> None:
    await set_rules(scene, steps={"fill": 10})
    first = await scene.generate(seed=7)
    values = {"area": "the circle", "prompt": "a large green circle on a blue background"}
    preview = await submit(scene, first, "Repaint", values)
    result = await scene.alice.click(preview, label="Paint it")
    await scene.app.jobs.idle()
    before, after = await pixels(first), await pixels(result.followups[0])
    assert np.array_equal(after[:16, :16], before[:16, :16])
    assert read_picture(Image.fromarray(after)).colour == "green"


async def test_remix_shows_what_was_and_makes_what_is_typed(scene: Scene) -> None:
    first = await scene.generate(model="dev", seed=7, steps=4, guidance=3.5)
    shown = await scene.alice.click(first, label="Remix")
    assert shown.modal is not None
    filled = [each["component"]["value"] for each in shown.modal["components"]]
    assert filled == [SUBJECT, "4", "3.5", "7"]
    values = {"prompt": "a green star", "steps": "5", "guidance": "4,5", "seed": "8"}
    result = await scene.alice.submit_modal(shown, values)
    await scene.app.jobs.idle()
    assert result.response is not None
    request = (await job_of(scene, result.response)).request
    assert (request.prompt, request.num_inference_steps) == ("a green star", 5)
    assert (request.guidance_scale, request.seed) == (4.5, 8)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"steps": "many"}, "`steps` is no whole number."),
        ({"steps": "51"}, "`steps` is 51, but it goes from 1 to 50 here."),
        ({"guidance": "a lot"}, "`guidance` is no number."),
        ({"guidance": "nan"}, "`guidance` is nan, but it goes from 0 to 10 here."),
        ({"seed": "-1"}, "`seed` is no whole number."),
        ({"seed": "4294967296"}, "`seed` is 4294967296"),
        ({"prompt": "   "}, "The prompt is empty."),
    ],
)
async def test_what_cannot_be_remixed_is_explained(
    scene: Scene, values: dict[str, str], sentence: str
) -> None:
    first = await scene.generate(model="dev", seed=7, steps=2)
    shown = await scene.alice.click(first, label="Remix")
    typed = {"prompt": "a star", "steps": "4", "guidance": "3.5", "seed": "7"} | values
    result = await scene.alice.submit_modal(shown, typed)
    assert result.response is not None
    assert result.response.ephemeral
    assert result.response.content.startswith(sentence)
    assert typed["prompt"].strip() in result.response.content


async def test_info_tells_how_it_was_made_to_who_asks_alone(scene: Scene) -> None:
    message = await press(scene, await scene.generate(seed=7), "Info", scene.bob)
    assert message.ephemeral
    assert description(message) == f"> {SUBJECT}"


async def test_every_button_works_three_levels_deep_also_after_a_restart(
    scene: Scene, settings: Settings, executor: LocalExecutor
) -> None:
    first = await scene.generate(seed=7)
    second = await press(scene, first, "Vary subtly")
    third = await press(scene, second, "Vary subtly")
    async with restarted(scene, settings, executor) as again:
        for label, values in ASKING.items():
            message = await submit(again, third, label, values)
            assert "Paint it" in _labels(message) or message.attachments, label
        for label in ("Again", "Compare", *(each for each in ALL if each.startswith(GROWING))):
            message = await press(again, third, label)
            assert message.attachments, label
            assert "Info" in _labels(message)
        assert description(await press(again, third, "Info"))
        last = await job_of(again, message)
        assert [each.id for each in await again.app.storage.history.ancestors(last.id)] == [3, 2, 1]
        asked = await press(again, third, "Delete")
        await again.alice.click(asked, label="Delete for good")
        assert await again.app.storage.history.of_message(third.id) is None


async def test_a_form_that_was_open_at_a_restart_is_read_all_the_same(
    scene: Scene, settings: Settings, executor: LocalExecutor
) -> None:
    first = await scene.generate(seed=7)
    shown = await scene.alice.click(first, label="Edit")
    async with restarted(scene, settings, executor) as again:
        result = await again.alice.submit_modal(shown, ASKING["Edit"])
        await again.app.jobs.idle()
        assert result.response is not None
        assert (await job_of(again, result.response)).request.prompt == "make the circle green"


async def test_two_members_fill_in_the_same_form_at_once(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    both = scene.alice, scene.bob
    forms = [await member.click(first, label="Edit") for member in both]
    for member, form, colour in zip(both, forms, ("green", "white"), strict=True):
        await member.submit_modal(form, {"prompt": f"make the circle {colour}"})
    await scene.app.jobs.idle()
    made = sorted(await scene.app.storage.last_made(10), key=lambda job: job.id)[1:]
    assert [(job.origin.user_id, job.request.prompt) for job in made] == [
        (scene.alice.id, "make the circle green"),
        (scene.bob.id, "make the circle white"),
    ]


async def test_a_form_about_what_was_deleted_meanwhile_makes_nothing(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    form = await scene.bob.click(first, label="Remix")
    await scene.app.storage.disposal.delete(1)
    typed = {"prompt": "a green star", "steps": "4", "seed": "7"}
    result = await scene.bob.submit_modal(form, typed)
    assert answer(result).endswith("```\na green star\n```")
    assert not scene.app.jobs.busy


async def test_a_picture_from_a_direct_message_is_not_public_by_what_was_made_of_it(
    scene: Scene,
) -> None:
    asked = await scene.alice.user.slash("generate", prompt=SUBJECT, seed=7)
    await scene.app.jobs.idle()
    assert asked.response is not None
    secret = "picture.png", await asked.response.attachments[0].read()
    result = await scene.alice.slash(
        scene.channel, "kontext", image=secret, prompt="make the circle green", steps=2
    )
    await scene.app.jobs.idle()
    assert result.response is not None
    pressed = await scene.bob.click(result.response, label="Again")
    assert "Another member attached images" in answer(pressed)


@pytest.mark.parametrize(
    ("sweep", "asked", "values"),
    [
        ("steps 1 2", ["prompt", "seed"], (1, 2)),
        ("seed 2", ["prompt", "steps", "seed"], (50, 51)),
    ],
)
async def test_remixing_a_sweep_asks_for_what_it_does_not_vary(
    scene: Scene, sweep: str, asked: list[str], values: tuple[int, ...]
) -> None:
    first = await scene.generate(sweep=sweep)
    shown = await scene.alice.click(first, label="Remix")
    assert shown.modal is not None
    inputs = [each["component"]["custom_id"] for each in shown.modal["components"]]
    assert inputs == asked
    typed = {"prompt": "a green star", "steps": "1", "seed": "50"}
    result = await scene.alice.submit_modal(shown, {name: typed[name] for name in asked})
    await scene.app.jobs.idle()
    assert result.response is not None
    request = (await job_of(scene, result.response)).request
    assert request.sweep is not None
    assert (request.sweep.values, request.seed) == (values, 50)


async def test_what_would_grow_too_large_is_refused_before_it_waits(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await scene.generate(seed=7)
    second = await press(scene, first, "Zoom out 2×")
    monkeypatch.setattr(masks, "MAX_PIXELS", 500 * 500)
    result = await scene.alice.click(second, label="Zoom out 2×")
    assert answer(result).startswith("The picture would grow to 512 × 512 pixels")


async def test_again_takes_the_quantization_that_a_server_has_locked_since(scene: Scene) -> None:
    first = await scene.generate(seed=7, quantization="None")
    await set_rules(scene, quantization="8-bit", quantization_locked=True)
    second = await press(scene, first, "Again")
    assert (await job_of(scene, second)).request.quantization == "8-bit"


async def test_a_stranger_makes_jobs_of_their_own(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    second = await press(scene, first, "Vary subtly", scene.bob)
    assert (await job_of(scene, second)).origin.user_id == scene.bob.id


async def test_a_result_names_who_pressed_the_button(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    second = await press(scene, first, "Again", scene.bob)
    assert description(second) == f"<@{scene.bob.id}>\n> {SUBJECT}"
    assert description(first) == f"> {SUBJECT}"


async def test_a_stranger_is_bound_by_their_own_limits(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    await set_rules(scene, cooldown=60)
    await press(scene, first, "Again", scene.bob)
    result = await scene.bob.click(first, label="Vary subtly")
    assert "pass between two requests" in answer(result)
    await press(scene, first, "Again", scene.alice)


async def test_only_its_member_or_a_moderator_deletes_and_is_asked_first(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    result = await scene.bob.click(first, label="Delete")
    assert "can delete it" in answer(result)
    for member in (scene.alice, scene.moderator):
        asked = await press(scene, first, "Delete", member)
        assert asked.ephemeral
        assert (await job_of(scene, first)).id == 1
    await scene.moderator.click(asked, label="Delete for good")
    assert await scene.app.storage.history.of_message(first.id) is None


async def test_when_the_files_are_swept_it_says_so_and_again_still_works(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    await scene.app.storage.disposal.delete_files(limit=0)
    for label in ("Vary subtly", "Zoom out 2×", "Edit", "Repaint"):
        result = await scene.alice.click(first, label=label)
        assert "are not kept any more. *Again* makes new ones" in answer(result)
    second = await press(scene, first, "Again")
    assert (await job_of(scene, second)).request.prompt == SUBJECT


async def test_when_the_job_is_deleted_a_press_is_answered_in_a_sentence(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    await scene.app.storage.disposal.delete(1)
    assert answer(await scene.alice.click(first, label="Again"))


async def test_a_double_press_makes_one_job_and_two_people_make_two(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    await scene.click_at_once(first, "Again", "Again")
    await scene.app.jobs.idle()
    assert len(await scene.app.storage.last_made(10)) == 2
    both = scene.alice, scene.bob
    await scene.click_at_once(first, "Vary subtly", "Vary subtly", members=both)
    await scene.app.jobs.idle()
    latest, before, *_ = sorted(await scene.app.storage.last_made(10), key=lambda job: -job.id)
    assert (latest.id, before.id) == (4, 3)
    assert {latest.origin.user_id, before.origin.user_id} == {each.id for each in both}
    await scene.env.advance_time(3)
    await press(scene, first, "Again")
    assert len(await scene.app.storage.last_made(10)) == 5


async def test_what_a_member_attached_stays_theirs(scene: Scene) -> None:
    result = await scene.alice.slash(
        scene.channel, "kontext", image=photo(), prompt="make the circle green", steps=2
    )
    await scene.app.jobs.idle()
    assert result.response is not None
    for label in ("Again", "Remix", "Compare"):
        pressed = await scene.bob.click(result.response, label=label)
        assert "Another member attached images" in answer(pressed)
    await press(scene, result.response, "Vary subtly", scene.bob)
    await press(scene, result.response, "Again", scene.alice)


async def test_what_was_made_of_public_pictures_anyone_makes_again(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    second = await press(scene, first, "Vary subtly", scene.bob)
    third = await press(scene, second, "Again", scene.moderator)
    assert (await job_of(scene, third)).parents == (1,)


async def test_of_several_pictures_one_is_chosen_first(scene: Scene) -> None:
    first = await scene.generate(seed=7, count=3)
    select = next(
        part
        for row in first.components
        for part in _parts(row)
        if part.get("custom_id", "").startswith("made:pick")
    )
    assert [each["description"] for each in select["options"]] == ["Seed 7", "Seed 8", "Seed 9"]
    chosen = await scene.bob.select(first, ["2"], custom_id=select["custom_id"])
    panel = chosen.response
    assert panel is not None
    assert panel.ephemeral
    assert "Again" not in _labels(panel)
    second = await press(scene, panel, "Zoom out 1.5×", scene.bob)
    assert not second.ephemeral
    result = await scene.app.storage.result(await job_of(scene, first))
    before, after = np.asarray(picture(result.images[1])), await pixels(second)
    assert np.array_equal(after[32:160, 32:160], before)


async def test_what_a_server_has_switched_off_is_not_offered(scene: Scene) -> None:
    before = await scene.generate(seed=7)
    await set_rules(scene, tools=("schnell", "redux"), quantization_locked=True)
    after = await scene.generate(seed=7)
    offered = ["Again", "Remix", "Vary subtly", "Vary strongly", "Info", "Delete"]
    assert button_labels(after) == offered
    result = await scene.alice.click(before, label="Zoom out 2×")
    assert answer(result).startswith("FLUX.1 Fill is switched off here.")


async def test_what_is_made_of_a_private_picture_is_private(scene: Scene) -> None:
    first = await scene.generate(seed=7, private=True)
    second = await press(scene, first, "Vary subtly")
    assert second.ephemeral
    channel = scene.app.client.get_channel(scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    forged = await channel.send(view=discord.ui.View().add_item(ResultButton("again", 1, 1)))
    pressed = await scene.bob.click(forged, label="Again")
    assert "not from here" in answer(pressed)


async def test_compare_shows_both_side_by_side_with_what_was_measured(scene: Scene) -> None:
    first = await scene.generate(seed=7)
    second = await press(scene, first, "Compare")
    job = await job_of(scene, second)
    assert job.request.seed == 7
    assert len(second.attachments) == 1
    text = str([embed.to_dict() for embed in second.embeds]) + str(second.components)
    assert "SSIM" in text
    assert "8-bit" in text


def _parts(component: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [each for part in component.get("components", ()) for each in _parts(part)]
    return [component, *inner]


def _labels(message: simcord.ResponseMessage) -> list[str]:
    return [part["label"] for row in message.components for part in _parts(row) if "label" in part]
