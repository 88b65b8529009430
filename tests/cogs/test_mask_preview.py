"""The mask preview of `/fill` as a member meets it: drawn for real, painted when the test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import discord
import pytest
import simcord
from PIL import Image

from bot import drafts
from bot.cogs import _mask_preview
from bot.cogs._mask_preview import EXPIRED, LABELS
from bot.errors import JobError
from bot.inference.finder import MaskFinder
from bot.inference.types import AROUND_WORDS, Region
from tests.catalogues import Catalogues
from tests.cogs.messages import button_labels, description, fields, mask, photo, refusal
from tests.conftest import Scene, picture, restarted
from tests.doubles import HeldExecutor
from tests.hostile import HOSTILE

BUTTONS = ["Grow", "Shrink", "Feather", "Invert", "Paint it", "Undo", "Cancel"]
PLAIN = "The coloured part is repainted, the rest stays as it is."


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for previews that have expired more often than every few seconds."""
    monkeypatch.setattr(_mask_preview, "SWEEP_SECONDS", 0.05)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():
            await asyncio.sleep(0.02)


async def fill(scene: Scene, **options: Any) -> simcord.ResponseMessage:
    """Send `/fill` as Alice and return her preview."""
    options = {"image": photo(), "prompt": "a green star", "mask": mask(), "seed": 7} | options
    options = {name: value for name, value in options.items() if value is not None}
    result = await scene.alice.slash(scene.channel, "fill", **options)
    assert result.response is not None
    return result.response


async def press(
    scene: Scene, message: simcord.ResponseMessage, label: str
) -> simcord.InteractionResult:
    return await scene.alice.click(message, label=label)


async def left_over(scene: Scene, label: str) -> discord.Message:
    """Return a public message with a button of the first preview, as on a screen out of date."""
    (verb,) = (verb for verb, each in LABELS.items() if each == label)
    button: discord.ui.Button[discord.ui.View] = discord.ui.Button(
        label=label, custom_id=f"mask:{verb}:1"
    )
    channel = scene.app.client.get_channel(scene.channel.id)
    assert isinstance(channel, discord.TextChannel)
    return await channel.send(view=discord.ui.View().add_item(button))


async def shown(message: simcord.ResponseMessage) -> Image.Image:
    (attachment,) = message.attachments
    assert attachment.filename == "mask-preview-1.jpg"
    return picture(await attachment.read())


def coloured(image: Image.Image) -> int:
    """Return how many places of a preview are in the colour of the mask."""
    steps = [step / 64 for step in range(64)]
    return sum(tinted(image, x, y) for x in steps for y in steps)


def tinted(image: Image.Image, x: float, y: float) -> bool:
    """Tell whether a place of a preview is in the colour of the mask; the photo has little green
    and blue where it is red, and none of it mixed."""
    red, _, blue = image.getpixel((int(x * image.width), int(y * image.height)))  # type: ignore[misc]
    return min(red, blue) > 80


async def test_the_mask_is_shown_to_its_member_alone_before_anything_is_painted(
    held_scene: Scene, held: HeldExecutor
) -> None:
    before = time.perf_counter()
    message = await fill(held_scene)
    assert time.perf_counter() - before < 5
    assert message.ephemeral
    assert button_labels(message) == BUTTONS
    assert description(message) == f"> a green star\n\n{PLAIN}"
    overlay = await shown(message)
    assert tinted(overlay, 0.1, 0.1)
    assert not tinted(overlay, 0.9, 0.1)
    assert held_scene.channel.history(viewer=held_scene.bob) == []
    assert held.started == []
    assert not held_scene.app.jobs.busy


async def test_painting_answers_for_all_to_see_with_everything_that_was_asked_for(
    held_scene: Scene, held: HeldExecutor
) -> None:
    preview = await fill(held_scene, steps=9, guidance=20.0, count=2, quantization="None")
    await press(held_scene, preview, "Grow")
    result = await press(held_scene, preview, "Paint it")
    assert button_labels(preview) == []
    assert "being painted, for all to see" in description(preview)
    (message,) = result.followups
    assert not message.ephemeral
    assert description(message) == f"<@{held_scene.alice.id}>\n> a green star\n\nStarting …"
    assert button_labels(message) == ["Cancel"]
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    (request,) = held.started
    assert request.images == {"image": photo()[1], "mask": mask()[1]}
    assert request.region == Region(adjustments=("grow",))
    assert (request.num_inference_steps, request.guidance_scale) == (9, 20.0)
    assert (request.count, request.seed, request.quantization) == (2, 7, "None")
    assert [a.filename for a in message.attachments] == ["fill-1-1.png", "fill-1-2.png"]
    assert fields(message)["Repainted"] == "what the mask marks; the mask grown"
    assert message.attachments[0].description == "An image, repainted in part: a green star"


async def test_a_private_picture_takes_the_place_of_its_preview(
    held_scene: Scene, held: HeldExecutor
) -> None:
    preview = await fill(held_scene, private=True, spoiler=True)
    result = await press(held_scene, preview, "Paint it")
    assert result.followups == []
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert [a.filename for a in preview.attachments] == ["SPOILER_fill-1-1.png"]
    assert held_scene.channel.history(viewer=held_scene.bob) == []
    assert len(held_scene.channel.history(viewer=held_scene.alice)) == 1


async def test_without_a_preview_it_is_painted_at_once(
    held_scene: Scene, held: HeldExecutor
) -> None:
    message = await fill(held_scene, preview="off")
    assert not message.ephemeral
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert [a.filename for a in message.attachments] == ["fill-1-1.png"]


async def test_each_adjustment_is_drawn_and_named(held_scene: Scene) -> None:
    preview = await fill(held_scene)
    plain = await shown(preview)
    words = {
        "Grow": "grown",
        "Shrink": "grown, shrunk",
        "Feather": "grown, shrunk, feathered",
        "Invert": "grown, shrunk, feathered, inverted",
    }
    seen = [plain.tobytes()]
    for label, named in words.items():
        await press(held_scene, preview, label)
        assert description(preview).endswith(f"{PLAIN}\nThe mask is {named}.")
        assert button_labels(preview) == BUTTONS
        seen.append((await shown(preview)).tobytes())
    assert len(set(seen)) >= 4  # to grow and to shrink may well end where it began
    inverted = await shown(preview)
    assert not tinted(inverted, 0.1, 0.1)
    assert tinted(inverted, 0.9, 0.1)


async def test_the_same_adjustment_counts_as_often_as_it_is_made_and_inverting_undoes_itself(
    held_scene: Scene,
) -> None:
    preview = await fill(held_scene)
    for label in ("Grow", "Grow", "Invert", "Invert", "Grow"):
        await press(held_scene, preview, label)
    assert description(preview).endswith("The mask is grown ×3.")


async def test_an_adjustment_that_leaves_nothing_to_repaint_is_refused_and_not_kept(
    held_scene: Scene,
) -> None:
    preview = await fill(held_scene, mask=None, area="0 0 1 1")
    result = await press(held_scene, preview, "Shrink")
    assert [m.content for m in result.followups] == [
        "After the adjustments nothing is left to repaint. Choose a larger area or mask."
    ]
    assert result.followups[0].ephemeral
    assert description(preview).endswith(PLAIN)
    await press(held_scene, preview, "Grow")
    assert description(preview).endswith("The mask is grown.")


async def test_a_mask_cannot_be_adjusted_without_end(
    held_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_mask_preview, "MAX_ADJUSTMENTS", 1)
    preview = await fill(held_scene)
    await press(held_scene, preview, "Grow")
    (answer,) = (await press(held_scene, preview, "Grow")).followups
    assert answer.content.startswith("A mask can be adjusted 1 times.")
    assert description(preview).endswith("The mask is grown.")


async def test_of_clicks_in_quick_succession_none_is_lost(held_scene: Scene) -> None:
    preview = await fill(held_scene)
    await held_scene.click_at_once(preview, "Grow", "Grow", "Feather", "Grow")
    assert description(preview).endswith("The mask is grown ×2, feathered, grown.")
    draft = await held_scene.app.storage.drafts.get(1)
    assert draft.request.region == Region(adjustments=("grow", "grow", "feather", "grow"))


async def test_a_double_click_paints_once(held_scene: Scene, held: HeldExecutor) -> None:
    preview = await fill(held_scene)
    await held_scene.click_at_once(preview, "Paint it", "Paint it")
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert len(held.started) == 1
    public = held_scene.channel.history(viewer=held_scene.bob)
    assert [len(m.attachments) for m in public] == [1]


async def test_what_is_painted_is_what_was_adjusted_a_moment_before(
    held_scene: Scene, held: HeldExecutor
) -> None:
    preview = await fill(held_scene)
    await held_scene.click_at_once(preview, "Invert", "Paint it")
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert held.started[0].region == Region(adjustments=("invert",))
    assert button_labels(preview) == []


async def test_cancel_takes_picture_and_buttons_away(held_scene: Scene, held: HeldExecutor) -> None:
    preview = await fill(held_scene)
    grow = await left_over(held_scene, "Grow")
    await press(held_scene, preview, "Cancel")
    assert description(preview).endswith("Cancelled: nothing is painted.")
    assert preview.attachments == []
    assert button_labels(preview) == []
    assert held.started == []
    late = await held_scene.alice.click(grow, label="Grow")
    assert late.response is not None
    assert late.response.content.startswith("This preview is over: ")


async def test_no_other_member_can_use_the_buttons(held_scene: Scene, held: HeldExecutor) -> None:
    preview = await fill(held_scene)
    for label in BUTTONS:
        button = await left_over(held_scene, label)
        for member in (held_scene.bob, held_scene.moderator):
            result = await member.click(button, label=label)
            assert result.response is not None
            assert result.response.ephemeral
            assert result.response.content == (
                "Only the member who asked for this preview can use its buttons."
            )
    assert description(preview).endswith(PLAIN)
    assert held.started == []


async def test_a_preview_expires_by_itself(
    held_scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        eleven_minutes_ago = SimpleNamespace(time=lambda: time.time() - 660)
        patch.setattr(drafts, "time", eleven_minutes_ago)
        preview = await fill(held_scene)
    grow = await left_over(held_scene, "Grow")
    async with restarted(held_scene, held_scene.app.client.settings, held) as scene:
        young = await fill(scene)
        await until(lambda: EXPIRED in description(preview))
        assert preview.attachments == []
        assert button_labels(preview) == []
        assert button_labels(young) == BUTTONS
        late = await scene.alice.click(grow, label="Grow")
        assert late.response is not None
        assert late.response.content.startswith("This preview is over: ")
        assert late.response.ephemeral


async def test_a_preview_expires_though_the_clock_is_set_back(
    held_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(drafts, "time", SimpleNamespace(time=lambda: time.time() + 3600))
        preview = await fill(held_scene)
    monkeypatch.setattr(_mask_preview, "LIFETIME", 0.1)
    await until(lambda: EXPIRED in description(preview))
    assert button_labels(preview) == []


async def test_the_buttons_work_after_a_restart(held_scene: Scene, held: HeldExecutor) -> None:
    preview = await fill(held_scene)
    await press(held_scene, preview, "Grow")
    async with restarted(held_scene, held_scene.app.client.settings, held) as scene:
        await press(scene, preview, "Feather")
        assert description(preview).endswith("The mask is grown, feathered.")
        (message,) = (await press(scene, preview, "Paint it")).followups
        await held.let_finish(0)
        await scene.app.jobs.idle()
        assert len(message.attachments) == 1
        assert held.started[0].images == {"image": photo()[1], "mask": mask()[1]}


async def test_what_expired_while_the_bot_was_away_says_so_when_it_is_back(
    held_scene: Scene, held: HeldExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    preview = await fill(held_scene)
    held_scene.work.cancel()
    monkeypatch.setattr(_mask_preview, "LIFETIME", 0.0)
    async with restarted(held_scene, held_scene.app.client.settings, held):
        await until(lambda: EXPIRED in description(preview))
        assert button_labels(preview) == []
        assert preview.attachments == []


async def test_a_preview_that_its_member_has_closed_expires_all_the_same(
    held_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(held_scene)
    await fill(held_scene)
    held_scene.env.inject_error("PATCH", "/webhooks/*/*/messages/*", status=404, code=10008)
    monkeypatch.setattr(_mask_preview, "LIFETIME", 0.0)
    async with asyncio.timeout(10):
        while await held_scene.app.storage.drafts.all():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mask": mask(white=False)}, "`mask` is empty."),
        ({"mask": None}, "There is nothing to repaint yet."),
        ({"image": ("cat.png", b"no picture at all")}, "`image` cannot be read"),
        ({"mask": ("mask.png", b"")}, "`mask` is "),
    ],
    ids=["black", "none", "no picture", "no bytes"],
)
async def test_what_cannot_be_shown_is_one_sentence_and_leaves_nothing_behind(
    held_scene: Scene, options: dict[str, Any], sentence: str
) -> None:
    arguments = {"image": photo(), "prompt": "a hat", "mask": mask()} | options
    arguments = {name: value for name, value in arguments.items() if value is not None}
    result = await held_scene.alice.slash(held_scene.channel, "fill", **arguments)
    assert refusal(held_scene, result).startswith(sentence)
    with pytest.raises(JobError):
        await held_scene.app.storage.drafts.get(1)


async def find_words(scene: Scene, finder: MaskFinder, **options: Any) -> simcord.InteractionResult:
    """Send `/fill` with words instead of a mask as Alice."""
    # its first start takes longer than simcord waits for an answer
    await finder.find(photo()[1], "circle")
    arguments = {"image": photo(), "prompt": "a green star", "area": "the red circle", "seed": 7}
    return await scene.alice.slash(scene.channel, "fill", **arguments | options)


async def test_words_are_found_in_the_picture_and_shown_before_anything_is_painted(
    held_scene: Scene, held: HeldExecutor, finder: MaskFinder
) -> None:
    preview = (await find_words(held_scene, finder)).response
    assert preview is not None
    assert preview.ephemeral
    assert button_labels(preview) == BUTTONS
    begun = f"> a green star\n\n{PLAIN}\nThe mask is grown, feathered."
    assert description(preview) == begun
    overlay = await shown(preview)
    assert tinted(overlay, 0.5, 0.5)
    assert not tinted(overlay, 0.1, 0.1)
    before = coloured(overlay)
    await press(held_scene, preview, "Grow")
    assert coloured(await shown(preview)) > before
    await press(held_scene, preview, "Invert")
    inverted = await shown(preview)
    assert not tinted(inverted, 0.5, 0.5)
    assert tinted(inverted, 0.1, 0.1)
    await press(held_scene, preview, "Invert")
    (message,) = (await press(held_scene, preview, "Paint it")).followups
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    adjustments = (*AROUND_WORDS, "grow")
    assert held.started[0].region == Region(words="the red circle", adjustments=adjustments)
    found = picture(held.started[0].images["mask"]).convert("L")
    assert found.getpixel((64, 64)) == 255
    assert found.getpixel((8, 8)) == 0
    assert fields(message)["Repainted"] == "the red circle; the mask grown, feathered, grown"


async def test_what_is_made_to_the_mask_of_words_to_begin_with_can_be_undone(
    held_scene: Scene, held: HeldExecutor, finder: MaskFinder
) -> None:
    preview = (await find_words(held_scene, finder)).response
    assert preview is not None
    begun = coloured(await shown(preview))
    await press(held_scene, preview, "Undo")
    assert description(preview).endswith("The mask is grown.")
    await press(held_scene, preview, "Undo")
    assert description(preview).endswith(PLAIN)
    assert coloured(await shown(preview)) < begun
    await press(held_scene, preview, "Paint it")
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert held.started[0].region == Region(words="the red circle")


async def test_where_nothing_was_adjusted_there_is_nothing_to_undo(held_scene: Scene) -> None:
    preview = await fill(held_scene)
    undo = await left_over(held_scene, "Undo")
    (button,) = [b for row in preview.components for b in row["components"] if b["label"] == "Undo"]
    assert button["disabled"]
    result = await held_scene.alice.click(undo, label="Undo")
    assert result.followups[0].content.startswith("There is nothing to undo")
    await press(held_scene, preview, "Grow")
    await press(held_scene, preview, "Undo")
    assert description(preview).endswith(PLAIN)


async def test_words_are_found_without_a_preview_too(
    held_scene: Scene, held: HeldExecutor, finder: MaskFinder
) -> None:
    message = (await find_words(held_scene, finder, preview="off")).response
    assert message is not None
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert set(held.started[0].images) == {"image", "mask"}
    assert held.started[0].region == Region(words="the red circle", adjustments=AROUND_WORDS)
    assert fields(message)["Repainted"] == "the red circle; the mask grown, feathered"


@pytest.mark.parametrize("preview", ["on", "off"])
async def test_words_for_what_is_not_there_are_one_sentence_and_nothing_is_painted(
    held_scene: Scene, held: HeldExecutor, finder: MaskFinder, preview: str
) -> None:
    result = await find_words(held_scene, finder, area="the yellow star", preview=preview)
    assert result.response is not None
    assert result.response.content == (
        "`the yellow star` could not be found in the picture."
        " Try another word for it, or name a part such as `left half`."
    )
    assert result.followups == []
    assert held_scene.env.errors
    assert held.started == []
    with pytest.raises(JobError):
        await held_scene.app.storage.drafts.get(1)


async def test_a_mask_beside_words_is_refused(held_scene: Scene, finder: MaskFinder) -> None:
    result = await find_words(held_scene, finder, mask=mask())
    assert refusal(held_scene, result).startswith("`mask` wins over the words in `area`")


async def test_a_preview_speaks_the_language_of_its_member(
    held_scene: Scene, catalogues: Catalogues
) -> None:
    catalogues.add_quoted("fr")
    catalogues.give(held_scene.alice, "fr")
    preview = await fill(held_scene)
    assert button_labels(preview) == [f"« {label} »" for label in BUTTONS]
    result = await press(held_scene, preview, "« Cancel »")
    assert result is not None
    assert description(preview).endswith("« Cancelled: nothing is painted. »")


async def test_no_hostile_file_gets_more_than_one_sentence_or_spoils_the_next_preview(
    held_scene: Scene,
) -> None:
    for name, hostile in HOSTILE.items():
        file = ("photo.png", hostile.data)
        options: dict[str, Any] = {"prompt": "a hat", "area": "centre"}
        result = await held_scene.alice.slash(held_scene.channel, "fill", image=file, **options)
        message = result.response
        assert message is not None
        assert message.ephemeral
        assert result.followups == []
        if hostile.usable and message.embeds:
            assert button_labels(message) == BUTTONS, name
            continue
        sentence = message.content
        assert sentence.startswith("`image` "), name
        assert "reference" not in sentence, name
        assert len(sentence.splitlines()) == 1, name
    assert held_scene.env.errors
    assert button_labels(await fill(held_scene)) == BUTTONS


async def test_what_is_painted_while_the_bot_is_being_stopped_is_so_at_its_next_start(
    held_scene: Scene, held: HeldExecutor
) -> None:
    preview = await fill(held_scene)
    await press(held_scene, preview, "Grow")
    await held_scene.app.jobs.stop(grace=0)
    (message,) = (await press(held_scene, preview, "Paint it")).followups
    assert "The bot is restarting" in description(message)
    assert button_labels(preview) == []
    async with restarted(held_scene, held_scene.app.client.settings, held) as scene:
        await held.let_finish(0)
        await scene.app.jobs.idle()
        assert len(message.attachments) == 1


async def test_when_discord_takes_no_public_message_the_preview_stays(
    held_scene: Scene, held: HeldExecutor
) -> None:
    preview = await fill(held_scene)
    held_scene.env.inject_error("POST", "/webhooks/*/*", status=500)
    failed = await press(held_scene, preview, "Paint it")
    assert [m.content for m in failed.followups] == [
        "Discord did not take that just now. Please try again."
    ]
    assert button_labels(preview) == BUTTONS
    assert held.started == []
    result = await press(held_scene, preview, "Paint it")
    await held.let_finish(0)
    await held_scene.app.jobs.idle()
    assert len(result.followups[0].attachments) == 1
