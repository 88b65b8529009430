"""Fill, Kontext, Depth, Canny and Redux as a member meets them, with the real tiny models."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psutil
import pytest
import simcord
from PIL import Image, ImageChops, ImageFilter

from bot.inference.executor import LocalExecutor
from bot.inference.finder import MaskFinder
from bot.inference.requests import text_to_image
from bot.inference.tools import FAMILIES, TOOLS
from bot.inference.types import Result
from tests.cogs.messages import Attached, button_labels, description, fields, photo, title
from tests.conftest import Scene, picture
from tests.hostile import HOSTILE
from tools.train_tiny.scoring import Reading, read_picture

ARGUMENTS: dict[str, dict[str, Any]] = {
    "fill": {"prompt": "a large green star on a blue background", "area": "10 10 80 80"},
    "kontext": {"prompt": "make the circle green"},
    "depth": {"prompt": "a large green circle on a yellow background"},
    "canny": {"prompt": "a large green circle on a yellow background"},
    "redux": {},
}

THREE: dict[str, Any] = {"count": 3, "steps": 6}
"""Pictures enough to tell what a tool does, in fewer steps than by default."""

REPAINTED = (13, 13, 115, 115)
"""That area in a picture of 128 × 128 pixels."""


@pytest.fixture(scope="session")
async def source(executor: LocalExecutor) -> Attached:
    """A picture that a member has saved: a large red circle on blue."""
    prompt = "a large red circle on a blue background"
    request = text_to_image(FAMILIES["tiny"], model="schnell", prompt=prompt, seed=7)
    async for event in executor.run(request):
        if isinstance(event, Result):
            return "source.png", event.images[0]
    raise AssertionError("a run ends with its result")


async def send(
    scene: Scene, command: str, source: Attached, **options: Any
) -> simcord.ResponseMessage:
    """Send a command as Alice, wait until the queue is empty and return the bot's message."""
    arguments = {"image": source, **ARGUMENTS[command], **options}
    if command == "fill":
        arguments = {"preview": "off", **arguments}
    arguments = {name: value for name, value in arguments.items() if value is not None}
    result = await scene.alice.slash(scene.channel, command, **arguments)
    await scene.app.jobs.idle()
    assert result.response is not None
    return result.response


async def first_picture(message: simcord.ResponseMessage) -> Image.Image:
    assert message.attachments, description(message)
    return picture(await message.attachments[0].read())


async def reading(message: simcord.ResponseMessage) -> Reading:
    """Return what most of a message's pictures show: a single one may miss its prompt."""
    assert message.attachments, description(message)
    made = [each for each in message.attachments if each.filename.endswith(".png")]
    read = [read_picture(picture(await each.read())) for each in made]
    return Counter(read).most_common(1)[0][0]


async def test_fill_paints_what_was_previewed_and_leaves_the_rest_as_it_was(
    scene: Scene, source: Attached
) -> None:
    preview = await send(scene, "fill", source, preview="on", seed=1, **THREE)
    assert preview.ephemeral
    assert preview.attachments[0].filename == "mask-preview-1.jpg"
    (message,) = (await scene.alice.click(preview, label="Paint it")).followups
    await scene.app.jobs.idle()
    before, after = picture(source[1]), await first_picture(message)
    assert after.size == before.size
    difference = ImageChops.difference(before, after)
    assert difference.getbbox() is not None
    difference.paste("black", REPAINTED)
    assert difference.getbbox() is None
    assert (await reading(message)).colour == "green"
    assert fields(message)["Repainted"] == "10 10 80 80"


async def test_fill_repaints_what_words_name_and_nothing_else(
    scene: Scene, source: Attached, finder: MaskFinder
) -> None:
    await finder.find(source[1], "circle")  # its start takes longer than simcord waits
    words = {"prompt": "a large green circle on a blue background", "area": "the red circle"}
    preview = await send(scene, "fill", source, preview="on", seed=1, **THREE, **words)
    (message,) = (await scene.alice.click(preview, label="Paint it")).followups
    await scene.app.jobs.idle()
    before, after = picture(source[1]), await first_picture(message)
    assert (await reading(message)).colour == "green"
    changed = (
        ImageChops.difference(before, after).convert("L").point(lambda level: 255 * (level > 0))
    )
    circle = before.getchannel("R").point(lambda level: 255 * (level > 100))
    # the edge of the mask is grown by 3 pixels, and feathered over 4 more
    around = circle.filter(ImageFilter.MaxFilter(17))
    changed.paste(0, mask=around)
    assert changed.getbbox() is None
    assert fields(message)["Repainted"] == "the red circle; the mask grown, feathered"


async def test_fill_grows_the_picture_and_keeps_the_original_pixel_for_pixel(
    scene: Scene, source: Attached
) -> None:
    message = await send(scene, "fill", source, area=None, right=50, steps=2)
    before, after = picture(source[1]), await first_picture(message)
    assert after.size == (before.width * 3 // 2, before.height)
    assert fields(message)["Size"] == f"{after.width}×{after.height}"
    kept = (0, 0, before.width * 3 // 4, before.height)  # the rest is the seam
    assert ImageChops.difference(before.crop(kept), after.crop(kept)).getbbox() is None


async def test_kontext_changes_what_the_words_say_and_nothing_else(
    scene: Scene, source: Attached
) -> None:
    message = await send(scene, "kontext", source, seed=1, **THREE)
    assert await reading(message) == Reading(colour="green", shape="circle", background="blue")
    wide = await first_picture(await send(scene, "kontext", source, size="wide", steps=1))
    assert wide.size == scene.app.client.family.pixels("wide")


@pytest.mark.parametrize("command", ["canny", "depth"])
async def test_the_picture_follows_a_control_image_that_is_shown_beside_it(
    scene: Scene, source: Attached, command: str
) -> None:
    message = await send(scene, command, source, seed=1, **THREE, spoiler=True)
    *made, control = message.attachments
    assert [each.filename for each in made] == [
        f"SPOILER_{command}-1-{number}.png" for number in (1, 2, 3)
    ]
    assert control.filename == f"{command}-1-control.webp"
    shape = picture(await control.read())
    assert shape.width / shape.height == 1
    extremes = shape.convert("L").getextrema()
    assert extremes[1] > 200  # type: ignore[operator]
    assert await reading(message) == Reading(colour="green", shape="circle", background="yellow")


async def test_variations_have_the_colours_of_their_image_and_differ_from_each_other(
    scene: Scene, source: Attached
) -> None:
    message = await send(scene, "redux", source, seed=1, **THREE)
    shown = await reading(message)
    assert (shown.colour, shown.background) == ("red", "blue")
    assert len({await each.read() for each in message.attachments}) == 3
    assert description(message) == "Variation of an image."


async def test_a_blend_takes_up_to_four_images_and_words(scene: Scene, source: Attached) -> None:
    other = photo(colour="yellow")
    images = {"image2": other, "image3": source, "image4": other}
    words = "a large star on a yellow background"
    message = await send(scene, "redux", source, **images, prompt=words, strength=0.5, steps=2)
    assert (await first_picture(message)).size == (128, 128)
    shown = fields(message)
    assert (shown["Images"], shown["Strength"]) == ("4", "0.5")


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("fill", ["encode"]),
        ("kontext", ["encode"]),
        ("depth", ["annotate", "encode"]),
        ("canny", ["annotate", "encode"]),
    ],
)
async def test_another_seed_looks_at_neither_words_nor_image_again(
    scene: Scene, source: Attached, command: str, kept: list[str]
) -> None:
    await send(scene, command, source, seed=1, steps=2)
    again = await send(scene, command, source, seed=2, steps=2)
    for stage in kept:
        assert f"{stage} kept" in fields(again)["Time"]


@pytest.mark.parametrize("command", list(ARGUMENTS))
async def test_each_tool_is_quantised_and_shows_what_it_takes_to_have_the_picture_again(
    scene: Scene, source: Attached, command: str
) -> None:
    message = await send(scene, command, source, seed=5, steps=2, count=2)
    shown = fields(message)
    assert shown["Seeds"] == "5, 6"
    assert shown["Steps"] == "2"
    assert shown["Quantization"] == "8-bit"
    assert "in bf16" in shown["Memory"]
    assert title(message) == TOOLS[command].title
    assert button_labels(message) == ["Again", "Remix", "Info", "Delete"]
    again = await send(scene, command, source, seed=6, steps=2)
    assert (await first_picture(again)).tobytes() == picture(
        await message.attachments[1].read()
    ).tobytes()


async def test_no_hostile_file_gets_more_than_one_sentence_or_spoils_the_next_job(
    scene: Scene, source: Attached
) -> None:
    processes = scene.app.executor.process_ids  # type: ignore[attr-defined]
    for name, hostile in HOSTILE.items():
        message = await send(scene, "canny", ("photo.png", hostile.data), steps=1)
        if hostile.usable and message.attachments:
            continue
        sentence = message.content or description(message).rpartition("\n")[2]
        assert sentence.startswith("`image` "), name
        assert "reference" not in sentence, name
    assert scene.env.errors
    assert scene.app.executor.process_ids == processes  # type: ignore[attr-defined]
    assert psutil.Process(processes[0]).memory_info().rss < 1_000_000_000
    message = await send(scene, "canny", source, steps=1)
    assert len(message.attachments) == 2
