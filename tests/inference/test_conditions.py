"""What the tools for images are shown, and what is kept of it for the next job."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from bot.errors import RequestError, UnusableImage
from bot.inference import requests
from bot.inference.conditions import fingerprint, prepare
from bot.inference.engine import Engine
from bot.inference.tools import FAMILIES
from bot.inference.types import Progress, Region, Request, Result

TINY = FAMILIES["tiny"]
AREA = TINY.area


def photo(width: int = 160, height: int = 120, mode: str = "RGB") -> Image.Image:
    """Return a red circle on green with some grain, as a photo has."""
    noise = np.random.default_rng(1).integers(0, 24, (height, width, 3), np.uint8)
    image = Image.fromarray(noise).filter(ImageFilter.BoxBlur(1))
    image = Image.blend(image, Image.new("RGB", image.size, (30, 150, 60)), 0.9)
    side = min(width, height)
    ImageDraw.Draw(image).ellipse((side // 4, side // 4, side // 4 * 3, side // 4 * 3), fill="red")
    return image.convert(mode)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def ask(tool: str, image: Image.Image | None = None, **options: Any) -> Request:
    """Return a request of few steps."""
    content = png(photo() if image is None else image)
    defaults: dict[str, Any] = {"seed": 7, "steps": 2}
    if tool == "redux":
        return requests.redux(TINY, **{"images": {"image": content}} | defaults | options)
    defaults |= {"image": content, "prompt": "a blue star"}
    return getattr(requests, tool)(TINY, **defaults | options)  # type: ignore[no-any-return]


def open_picture(result: Result) -> Image.Image:
    return Image.open(io.BytesIO(result.images[0]))


def stages(engine: Engine, request: Request) -> tuple[Result, set[str]]:
    """Return the result of a request, and the stages that it went through."""
    seen: list[Progress] = []
    result = engine.run(request, report=seen.append)
    return result, {progress.stage for progress in seen}


@pytest.mark.parametrize("tool", ["fill", "kontext", "depth", "canny", "redux"])
def test_with_another_seed_nothing_is_read_or_looked_at_again(engine: Engine, tool: str) -> None:
    own = {"region": Region(area="centre")} if tool == "fill" else {}
    first, all_stages = stages(engine, ask(tool, **own))
    assert all_stages == {"load", "annotate", "encode", "denoise", "decode"}
    assert first.reused == ()
    second, fewer = stages(engine, ask(tool, seed=8, **own))
    assert fewer == {"load", "denoise", "decode"}
    assert second.reused == ("annotate", "encode")
    assert not {"annotate", "encode"} & set(second.seconds)
    assert second.control_image == first.control_image
    assert second.memory.weights == first.memory.weights
    assert second.images != first.images


def test_other_words_are_read_and_the_image_is_kept(engine: Engine) -> None:
    engine.run(ask("canny"))
    assert engine.run(ask("canny", prompt="a red heart")).reused == ("annotate",)


@pytest.mark.parametrize(
    ("tool", "change"),
    [
        ("canny", {"low": 50}),
        ("canny", {"high": 150}),
        ("kontext", {"size": "wide"}),
        ("fill", {"region": Region(area="left half", adjustments=("grow",))}),
    ],
)
def test_options_that_change_what_is_seen_make_it_look_anew(
    tool: str, change: dict[str, Any]
) -> None:
    own = {"region": Region(area="left half")} if tool == "fill" else {}
    request = ask(tool, **own)
    assert fingerprint(request) == fingerprint(replace(request, seed=8, prompt="other words"))
    assert fingerprint(request) != fingerprint(ask(tool, **own | change))
    assert fingerprint(request) != fingerprint(ask(tool, photo(161), **own))


def test_another_strength_encodes_the_images_of_redux_anew(engine: Engine) -> None:
    strong = engine.run(ask("redux", steps=8))
    weak = engine.run(ask("redux", steps=8, strength=0.2))
    assert weak.reused == ("annotate",)
    assert weak.images != strong.images


def test_fill_gives_back_a_large_photo_in_full_size_and_untouched_outside(engine: Engine) -> None:
    large = photo(1200, 900)
    result = engine.run(ask("fill", large, region=Region(area="right half")))
    picture = open_picture(result)
    assert result.size == picture.size == (1200, 900)
    kept = (0, 0, 600, 900)
    assert picture.crop(kept).tobytes() == large.crop(kept).tobytes()
    assert picture.crop((600, 0, 1200, 900)).tobytes() != large.crop((600, 0, 1200, 900)).tobytes()
    assert result.notes == ("Painted at 144×112 and enlarged into the picture.",)
    smaller = engine.run(
        replace(ask("fill", large, region=Region(area="right half")), max_pixels=64**2)
    )
    assert smaller.size == (1200, 900)
    assert smaller.notes == ("Painted at 64×48 and enlarged into the picture.",)


def test_fill_says_nothing_of_enlarging_where_the_picture_is_as_small_as_what_is_painted(
    engine: Engine,
) -> None:
    request = ask("fill", photo(80, 64), region=Region(area="right half"))
    for max_pixels in (None, 80 * 64):
        assert engine.run(replace(request, max_pixels=max_pixels)).notes == ()
    smaller = engine.run(replace(request, max_pixels=48 * 32))
    assert smaller.size == (80, 64)
    assert smaller.notes == ("Painted at 48×32 and enlarged into the picture.",)


def test_outpainting_grows_the_picture_and_keeps_all_of_it(engine: Engine) -> None:
    image = photo()
    result = engine.run(ask("fill", image, region=Region(left=50, top=10)))
    picture = open_picture(result)
    assert picture.size == (160 + 80, 120 + 12)
    assert picture.crop((80, 12, 240, 132)).tobytes() == image.tobytes()


def test_a_picture_like_an_image_has_its_shape_and_the_area_of_the_family() -> None:
    for tool in ("kontext", "depth", "canny", "redux"):
        request = ask(tool, photo(640, 360))
        size = prepare(request, area=AREA, estimate_depth=lambda image: image).size
        assert size == (176, 96)


@pytest.mark.parametrize("tool", ["fill", "kontext", "depth", "canny", "redux"])
def test_a_picture_like_an_image_has_no_more_pixels_than_are_allowed(tool: str) -> None:
    own = {"region": Region(area="centre")} if tool == "fill" else {}
    request = ask(tool, photo(640, 480), **own)

    def size(max_pixels: int | None) -> tuple[int, int]:
        allowed = replace(request, max_pixels=max_pixels)
        return prepare(allowed, area=AREA, estimate_depth=lambda image: image).size

    assert size(64 * 48) == (64, 48)
    assert size(AREA) == size(AREA + 1) == size(10**9) == size(None) == (144, 112)
    assert size(1) == (16, 16)


def test_kontext_is_shown_less_where_less_is_allowed_and_paints_at_the_size_it_was_told() -> None:
    request = replace(ask("kontext", photo(640, 480), size="tall"), max_pixels=64 * 48)
    conditions = prepare(request, area=AREA, estimate_depth=None)
    assert conditions.arguments["image"].size == (64, 48)
    assert conditions.size == TINY.pixels("tall")


@pytest.mark.parametrize("tool", ["canny", "redux"])
def test_what_was_seen_at_another_size_is_looked_at_anew(engine: Engine, tool: str) -> None:
    request = ask(tool, photo(640, 480))
    first = engine.run(replace(request, max_pixels=64 * 48))
    second = engine.run(request)
    assert (first.size, second.size) == ((64, 48), (144, 112))
    assert "annotate" not in second.reused
    again = engine.run(replace(request, max_pixels=64 * 48, seed=8))
    assert again.size == (64, 48)
    assert "annotate" in again.reused


def test_kontext_paints_at_the_size_that_was_asked_for(engine: Engine) -> None:
    result = engine.run(ask("kontext", size="tall"))
    assert result.size == open_picture(result).size == TINY.pixels("tall")


def test_redux_takes_its_shape_from_the_first_of_four_images(engine: Engine) -> None:
    images = {"image": png(photo(90, 160))} | {
        f"image{n}": png(photo(160, 90 + n)) for n in (2, 3, 4)
    }
    assert engine.run(ask("redux", images=images)).size == (96, 176)


@pytest.mark.parametrize("tool", ["canny", "depth"])
def test_the_control_image_is_small_and_has_the_shape_of_the_picture(
    engine: Engine, tool: str
) -> None:
    result = engine.run(ask(tool, photo(640, 360)))
    assert result.control_image is not None
    control = Image.open(io.BytesIO(result.control_image))
    assert (control.format, control.size) == ("WEBP", result.size)
    assert len(result.control_image) < 100_000


def test_what_is_transparent_is_white_where_the_tool_has_no_use_for_it() -> None:
    image = photo(mode="RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 80, 120))
    seen = prepare(ask("kontext", image), area=AREA, estimate_depth=None).arguments["image"]
    assert seen.mode == "RGB"
    assert seen.getpixel((5, 50)) == (255, 255, 255)


def test_what_is_transparent_is_what_fill_repaints() -> None:
    image = photo(mode="RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 80, 120))
    mask = prepare(ask("fill", image), area=AREA, estimate_depth=None).arguments["mask_image"]
    assert (mask.getpixel((5, 50)), mask.getpixel((120, 50))) == (255, 0)


def test_a_fill_that_says_nothing_to_repaint_is_a_sentence(engine: Engine) -> None:
    with pytest.raises(RequestError, match="There is nothing to repaint yet"):
        engine.run(ask("fill"))


def test_a_file_that_is_no_image_is_a_sentence_that_names_its_option(engine: Engine) -> None:
    with pytest.raises(UnusableImage, match="`image3` cannot be read as a picture"):
        engine.run(ask("redux", images={"image": png(photo()), "image3": b"hello"}))
    engine.run(ask("redux"))


def test_a_picture_names_the_images_it_came_from_by_their_hash(engine: Engine) -> None:
    request = ask("canny", low=20)
    said = json.loads(open_picture(engine.run(request)).info["flux"])
    assert said["images"] == {"image": hashlib.sha256(request.images["image"]).hexdigest()}
    assert (said["low"], said["high"], said["width"]) == (20, 200, 144)
    assert said["made_with"]["model"] == "black-forest-labs/FLUX.1-Canny-dev"


def test_both_models_of_redux_are_at_8_bits(engine: Engine) -> None:
    eight, full = (engine.run(ask("redux", quantization=q)) for q in ("8-bit", "None"))
    assert eight.fallback_reason is None
    assert eight.memory.weights.float32 == pytest.approx(full.memory.weights.float32, rel=0.001)
    assert eight.memory.weights.saved_against("float32") > 0.4
