"""What a server has set of its answers, as the files that its members get."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image

from bot.inference.metadata import describe, read_metadata, read_parameters, with_metadata
from bot.inference.types import Request, Result
from bot.looks import CELLS, shown
from bot.records import Job, Look
from bot.rendering import Attachment, Message
from bot.sheets import GAP

from .doubles import result_for
from .test_fitting import opened, photo
from .test_messages import JOB
from .test_storage import ORIGIN

LIMIT = 10 * 2**20
SIDE = 128
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 210)}
MADE_WITH = {"model": "black-forest-labs/FLUX.1-dev", "bot": "0.1.0"}
REQUEST = Request(
    tool="canny",
    prompt="a «cat» 🐈",
    width=SIDE,
    height=SIDE,
    num_inference_steps=28,
    guidance_scale=3.5,
    seed=7,
    count=3,
)


def asked(look: Look, *, spoiler: bool = False) -> Job:
    return replace(JOB, origin=replace(ORIGIN, look=look, spoiler=spoiler), request=REQUEST)


def flat(colour: str) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), COLOURS[colour])


@cache
def stripes() -> Image.Image:
    """Return lines four pixels high, as those of a text, on a ground that is not grey."""
    pixels = np.full((SIDE, SIDE, 3), (250, 210, 120), np.uint8)
    pixels[np.arange(SIDE) // 4 % 2 == 1, SIDE // 8 : -SIDE // 8] = (20, 30, 60)
    return Image.fromarray(pixels)


def made(*pictures: Image.Image, unsafe: tuple[float, ...] = (), control: bool = False) -> Result:
    """Return a result with pictures as the engine writes them, each with its own seed."""
    request = replace(REQUEST, count=len(pictures))
    images = tuple(
        with_metadata(picture, describe(replace(request, seed=seed, count=1), {}, MADE_WITH))
        for picture, seed in zip(pictures, request.seeds, strict=True)
    )
    control_image = b"edges" if control else None
    return replace(result_for(request), images=images, unsafe=unsafe, control_image=control_image)


def three(**more: object) -> Result:
    return made(*map(flat, COLOURS), **more)  # type: ignore[arg-type]


async def files(look: Look, result: Result, *, spoiler: bool = False) -> tuple[Attachment, ...]:
    return (await shown(asked(look, spoiler=spoiler), result, LIMIT)).attachments or ()


def notes(message: Message) -> list[str | None]:
    return [field.value for field in message.embed.fields if field.name == "Note"]


def names(message: Message) -> list[str]:
    return [file.filename for file in message.attachments or ()]


def seed(content: bytes) -> int:
    said = read_metadata(content)
    assert said is not None
    return int(said["seed"])


def is_about(pixel: object, colour: str) -> bool:
    return bool(np.abs(np.subtract(pixel, COLOURS[colour])).max() < 16)  # type: ignore[call-overload]


async def test_without_any_settings_the_files_are_those_of_the_engine() -> None:
    result = three(unsafe=(0.9, 0.9, 0.9), control=True)
    message = await shown(asked(Look()), result, LIMIT)
    assert names(message) == [
        "canny-12-1.png",
        "canny-12-2.png",
        "canny-12-3.png",
        "canny-12-control.webp",
    ]
    contents = [file.content for file in message.attachments or ()]
    assert contents == [*result.images, b"edges"]
    assert notes(message) == []


@pytest.mark.parametrize(("file_format", "ending"), [("WebP", ".webp"), ("JPEG", ".jpg")])
async def test_another_format_has_its_ending_and_says_how_the_picture_was_made(
    file_format: str, ending: str
) -> None:
    look = Look(file_format=file_format, quality=90)  # type: ignore[arg-type]
    result = three(control=True)
    *pictures, control = await files(look, result, spoiler=True)
    assert [each.filename for each in pictures] == [f"canny-12-{n}{ending}" for n in (1, 2, 3)]
    for number, (file, colour) in enumerate(zip(pictures, COLOURS, strict=True)):
        picture = opened(file)
        assert (picture.format, picture.mode) == (file_format.upper(), "RGB")
        assert is_about(picture.getpixel((9, 9)), colour)
        assert seed(file.content) == 7 + number
        assert (read_parameters(file.content) or "").startswith("a «cat» 🐈\nSteps: 28")
        assert (file.spoiler, file.description) == (True, "a «cat» 🐈")
    assert (control.filename, control.content) == ("canny-12-control.webp", b"edges")


@pytest.mark.parametrize("file_format", ["WebP", "JPEG"])
async def test_the_quality_decides_the_size(file_format: str) -> None:
    result = replace(three(), images=(photo((320, 240)),))
    sizes = []
    for quality in (50, 75, 100):
        look = Look(file_format=file_format, quality=quality)  # type: ignore[arg-type]
        (file,) = await files(look, result)
        sizes.append(len(file.content))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[1] / 1.2 < sizes[2] / 1.5


@pytest.mark.parametrize("file_format", ["PNG", "WebP", "JPEG"])
async def test_a_grid_of_three_has_each_picture_in_its_place(file_format: str) -> None:
    look = Look(layout="grid", file_format=file_format)  # type: ignore[arg-type]
    grid, control = await files(look, three(control=True), spoiler=True)
    ending = {"PNG": "png", "WebP": "webp", "JPEG": "jpg"}[file_format]
    assert grid.filename == f"canny-12-grid.{ending}"
    assert (grid.spoiler, grid.description) == (True, "a «cat» 🐈")
    picture = opened(grid)
    assert (picture.format, picture.size) == (file_format.upper(), (2 * SIDE + GAP,) * 2)
    near, far = SIDE // 2, SIDE + GAP + SIDE // 2
    for place, colour in zip([(near, near), (far, near), (near, far)], COLOURS, strict=True):
        assert is_about(picture.getpixel(place), colour)
    assert not any(is_about(picture.getpixel((far, far)), colour) for colour in COLOURS)
    assert seed(grid.content) == 7  # as in AUTOMATIC1111's web UI, it tells of its first one
    assert control.filename == "canny-12-control.webp"


async def test_a_grid_of_two_is_a_line_and_one_picture_is_no_grid() -> None:
    look = Look(layout="grid")
    (line,) = await files(look, made(flat("red"), flat("blue")))
    assert opened(line).size == (2 * SIDE + GAP, SIDE)
    (alone,) = await files(look, made(flat("red")))
    assert alone.filename == "canny-12-1.png"


async def test_nothing_can_be_made_out_in_a_blurred_picture_but_its_colour() -> None:
    look = Look(verdict="blur", threshold=0.5)
    result = made(stripes(), flat("red"), unsafe=(0.5, 0.49))
    message = await shown(asked(look), result, LIMIT)
    blurred, spared = message.attachments or ()
    before, after = np.asarray(stripes(), float), np.asarray(opened(blurred), float)
    assert after.shape == before.shape
    for axis in (0, 1):
        assert np.diff(after, axis=axis).std() < 6
    assert np.diff(before, axis=0).std() > 60  # what the measure says of the stripes themselves
    assert np.abs(after.mean((0, 1)) - before.mean((0, 1))).max() < 4
    assert (blurred.filename, blurred.spoiler) == ("canny-12-1.png", True)
    assert (spared.content, spared.spoiler) == (result.images[1], False)
    assert notes(message) == ["1 picture blurred: the server's classifier considers it unsafe."]


async def test_a_blurred_face_of_full_size_is_a_few_patches() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 384, 3), np.uint8)
    result = made(Image.fromarray(noise), unsafe=(1.0,))
    (file,) = await files(Look(verdict="blur"), result)
    pixels = opened(file)
    again = pixels.resize((CELLS, CELLS), Image.Resampling.BOX).resize(pixels.size)
    assert np.abs(np.subtract(pixels, again, dtype=float)).mean() < 4
    assert np.asarray(pixels).std() < 8


@pytest.mark.parametrize("file_format", ["PNG", "WebP", "JPEG"])
@pytest.mark.parametrize("layout", ["files", "grid"])
async def test_a_blurred_picture_carries_nothing_but_its_pixels(
    file_format: str, layout: str
) -> None:
    picture = stripes().copy()
    picture.info["icc_profile"] = b"the original"
    result = made(picture, picture, unsafe=(0.9, 0.9))
    assert "icc_profile" in Image.open(io.BytesIO(result.images[0])).info
    look = Look(verdict="blur", layout=layout, file_format=file_format)  # type: ignore[arg-type]
    for file in await files(look, result):
        assert not {"exif", "icc_profile", "flux", "parameters"} & set(opened(file).info)
        assert read_metadata(file.content) is None
        assert file.spoiler


async def test_what_is_withheld_is_not_sent_at_all() -> None:
    look = Look(verdict="withhold")
    result = three(unsafe=(0.1, 0.9, 0.2), control=True)
    message = await shown(asked(look), result, LIMIT)
    assert names(message) == ["canny-12-1.png", "canny-12-3.png"]  # nor is its outline
    assert result.images[1] not in [file.content for file in message.attachments or ()]
    assert notes(message) == ["1 picture withheld: the server's classifier considers it unsafe."]
    assert {field.name: field.value for field in message.embed.fields}["Seeds"] == "7, 8, 9"


@pytest.mark.parametrize(("verdict", "left"), [("withhold", 0), ("blur", 3)])
async def test_when_no_picture_may_be_seen_neither_may_their_outline(
    verdict: str, left: int
) -> None:
    look = Look(verdict=verdict)  # type: ignore[arg-type]
    message = await shown(asked(look), three(unsafe=(0.9, 0.8, 0.7), control=True), LIMIT)
    assert len(message.attachments or ()) == left
    assert not any("control" in name for name in names(message))
    (note,) = notes(message)
    assert (note or "").startswith("3 pictures ")
    assert (note or "").endswith(": the server's classifier considers them unsafe.")
    assert {field.name: field.value for field in message.embed.fields}["Seeds"] == "7, 8, 9"


async def test_a_picture_that_nobody_judged_is_not_shown_where_it_had_to_be() -> None:
    assert await files(Look(verdict="withhold"), three(unsafe=())) == ()
    assert len(await files(Look(), three(unsafe=()))) == 3


async def test_the_place_of_a_withheld_picture_in_a_grid_stays_empty() -> None:
    look = Look(layout="grid", verdict="withhold")
    (grid,) = await files(look, three(unsafe=(0.9, 0.1, 0.1)))
    picture = opened(grid)
    near, far = SIDE // 2, SIDE + GAP + SIDE // 2
    assert not any(is_about(picture.getpixel((near, near)), colour) for colour in COLOURS)
    assert is_about(picture.getpixel((far, near)), "green")
    assert is_about(picture.getpixel((near, far)), "blue")
    (alone,) = await files(look, three(unsafe=(0.9, 0.1, 0.9)))
    assert alone.filename == "canny-12-2.png"


async def test_a_grid_with_a_blurred_picture_is_a_spoiler() -> None:
    look = Look(layout="grid", verdict="blur", file_format="WebP")
    (grid,) = await files(look, made(flat("red"), stripes(), unsafe=(0.1, 0.9)))
    assert grid.spoiler
    right = opened(grid).crop((SIDE + GAP, 0, 2 * SIDE + GAP, SIDE))
    assert np.diff(np.asarray(right, float), axis=0).std() < 8


@pytest.mark.parametrize("content", [b"no picture", photo((64, 64))[:2000], b""])
@pytest.mark.parametrize(
    "look",
    [
        Look(file_format="WebP"),
        Look(file_format="JPEG", layout="grid"),
        Look(layout="grid"),
        Look(verdict="blur"),
    ],
)
async def test_what_is_no_picture_passes_as_it_is(content: bytes, look: Look) -> None:
    result = replace(three(unsafe=(0.1, 0.1, 0.1)), images=(content,) * 3)
    message = await shown(asked(look), result, LIMIT)
    assert names(message) == ["canny-12-1.png", "canny-12-2.png", "canny-12-3.png"]
    assert [file.content for file in message.attachments or ()] == [content] * 3


async def test_what_cannot_be_blurred_is_withheld() -> None:
    result = replace(made(stripes(), flat("red"), flat("blue")), unsafe=(0.9, 0.9, 0.1))
    result = replace(result, images=(result.images[0], b"no picture", result.images[2]))
    message = await shown(asked(Look(verdict="blur")), result, LIMIT)
    assert names(message) == ["canny-12-1.png", "canny-12-3.png"]
    (note,) = notes(message)
    assert set((note or "").splitlines()) == {
        "1 picture withheld: the server's classifier considers it unsafe.",
        "1 picture blurred: the server's classifier considers it unsafe.",
    }


@pytest.mark.parametrize("layout", ["files", "grid"])
async def test_what_is_still_too_large_is_made_smaller_and_says_how_it_was_made(
    layout: str,
) -> None:
    pictures = [Image.open(io.BytesIO(photo((640, 480)))) for _ in range(2)]
    job = asked(Look(layout=layout, file_format="WebP", quality=100))  # type: ignore[arg-type]
    message = await shown(job, made(*pictures), 100_000)
    for file in message.attachments or ():
        assert len(file.content) <= 100_000
        assert file.filename.endswith(".webp")
        assert seed(file.content) in (7, 8)
    assert notes(message) == ["Sent as WebP, for Discord takes no file above 0.1 MB here."]
