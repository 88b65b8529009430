"""Which part is repainted: masks of every make, grown sides, adjustments, and what stays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from bot.errors import RequestError, UnusableImage
from bot.inference import masks
from bot.inference.masks import Canvas, composite, model_inputs, overlay, prepare_canvas, preview
from bot.inference.morphology import dilate, erode
from bot.inference.types import Adjustment, Region

from ..hostile import HOSTILE, encode

SIZE = (480, 360)
NOTHING = Region()

STROKES = ["red", "black", "white", "yellow", (0, 120, 255)]
RECOMPRESSED = [(None, None, 1.0), (95, 60, 1.0), (40, 90, 1.0), (None, 75, 0.5), (85, 70, 1.6)]
"""Quality of the picture, quality of the copy, scale of the copy."""


def photo(*, seed: int = 1, size: tuple[int, int] = SIZE, grey: bool = False) -> Image.Image:
    """Return something with the edges, gradients and noise of a photo, none of it near a stroke."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
        r = int(rng.integers(10, 50))
        colour = tuple(int(level) for level in rng.integers(60, 200, 3))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    noisy = np.asarray(image, np.int16) + rng.integers(-9, 10, (size[1], size[0], 1))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    return image.convert("L").convert("RGB") if grey else image


def stroke_on(image: Image.Image, colour: Any, width: int = 36) -> Image.Image:
    image = image.copy()
    w, h = image.size
    points = [(0.3 * w, 0.3 * h), (0.5 * w, 0.45 * h), (0.65 * w, 0.35 * h), (0.7 * w, 0.65 * h)]
    draw = ImageDraw.Draw(image)
    draw.line(points, fill=colour, width=width)
    for x, y in points:
        draw.circle((x, y), width / 2, fill=colour)
    return image


def stroke_mask(size: tuple[int, int] = SIZE, width: int = 36) -> Image.Image:
    return stroke_on(Image.new("L", size), 255, width)


def jpeg(image: Image.Image, quality: int | None) -> Image.Image:
    if quality is None:
        return image
    return Image.open(io.BytesIO(encode(image, "JPEG", quality=quality))).convert("RGB")


def covered(mask: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(mask) >= 128


def overlap(found: Image.Image, expected: Image.Image) -> float:
    """Return the intersection of two masks by their union."""
    a, b = covered(found), covered(expected)
    return float((a & b).sum() / (a | b).sum())


def mask_of(image: Image.Image, attachment: Image.Image | None, **region: Any) -> Image.Image:
    return prepare_canvas(image, attachment, Region(**region)).mask


def same(a: Image.Image, b: Image.Image) -> bool:
    return np.array_equal(np.asarray(a), np.asarray(b))


# What a mask attachment means


@pytest.mark.parametrize("size", [SIZE, (240, 180), (1200, 900)])
def test_white_on_black_is_repainted_whatever_the_size_of_the_mask(size: tuple[int, int]) -> None:
    mask = mask_of(photo(), stroke_mask(size, 36 * size[0] // SIZE[0]).convert("RGB"))
    assert mask.size == SIZE
    assert overlap(mask, stroke_mask()) > 0.93


def test_a_mask_of_the_pictures_size_is_taken_bit_for_bit() -> None:
    assert same(mask_of(photo(), stroke_mask().convert("RGB")), stroke_mask())


def test_the_mask_of_words_is_taken_as_it_is_though_the_picture_looks_like_it() -> None:
    black_and_white = stroke_mask()
    picture = black_and_white.convert("RGB")
    found = mask_of(picture, picture, words="the stroke")
    assert same(found, black_and_white)
    enlarged = mask_of(picture.resize((1280, 960)), picture, words="the stroke")
    assert enlarged.size == (1280, 960)
    with pytest.raises(UnusableImage, match="a copy of `image` without marks"):
        mask_of(picture, picture)


def test_soft_edges_are_kept() -> None:
    soft = stroke_mask().filter(ImageFilter.GaussianBlur(8))
    mask = np.asarray(mask_of(photo(), soft.convert("RGB"))).astype(int)
    inside = np.asarray(soft) > masks._PAINTED
    # the brightest becomes white, so that all levels rise by a little
    assert np.abs(mask - np.asarray(soft))[inside].max() < 12
    assert 0.1 < ((mask > 20) & (mask < 235)).sum() / inside.sum() < 0.9


@pytest.mark.parametrize("quality", [None, 40])
@pytest.mark.parametrize(
    ("ground", "colour"),
    [
        *(("black", "red"), ("black", (0, 0, 130)), ("black", (90, 90, 90)), ("white", "red")),
        *(((40, 40, 40), "yellow"), ("white", "blue"), ("blue", "yellow")),
    ],
)
def test_a_stroke_in_any_colour_on_a_plain_ground_repaints_fully(
    ground: Any, colour: Any, quality: int | None
) -> None:
    attachment = jpeg(stroke_on(Image.new("RGB", SIZE, ground), colour), quality)
    mask = mask_of(photo(), attachment)
    assert overlap(mask, stroke_mask()) > 0.93
    assert np.percentile(np.asarray(mask)[covered(stroke_mask(width=20))], 5) > 230


@pytest.mark.parametrize("colour", ["white", "black", "red"])
def test_strokes_on_transparency_are_the_mask(colour: str) -> None:
    attachment = stroke_on(Image.new("RGBA", SIZE), colour)
    assert same(mask_of(photo(), attachment), stroke_mask())


def test_what_is_erased_from_a_copy_of_the_picture_is_the_mask() -> None:
    attachment = photo()
    attachment.putalpha(stroke_mask().point(lambda level: 255 - level))
    assert same(mask_of(photo(), attachment), stroke_mask())


@pytest.mark.parametrize("compression", RECOMPRESSED)
@pytest.mark.parametrize("colour", STROKES)
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_what_is_painted_on_a_copy_is_the_mask(
    grey: bool, colour: Any, compression: tuple[int | None, int | None, float]
) -> None:
    image_quality, copy_quality, scale = compression
    copy = stroke_on(photo(grey=grey), colour)
    if scale != 1:
        copy = copy.resize([round(side * scale) for side in SIZE], Image.Resampling.LANCZOS)
    mask = mask_of(jpeg(photo(grey=grey), image_quality), jpeg(copy, copy_quality))
    core = covered(stroke_mask(width=32))
    assert covered(mask)[core].mean() > 0.97
    # and nothing is repainted that is not close to the stroke
    assert not (covered(mask) & ~covered(stroke_mask(width=60))).any()


def test_a_thin_stroke_on_a_large_photo_is_found() -> None:
    image = photo(size=(3000, 2250))
    mask = mask_of(image, jpeg(stroke_on(image, "red", 12), 80))
    assert covered(mask)[covered(stroke_mask(image.size, 8))].mean() > 0.95


def test_a_stroke_that_hides_the_only_object_is_found_too() -> None:
    image = Image.new("RGB", (128, 128), "blue")
    ImageDraw.Draw(image).ellipse((40, 40, 80, 80), fill="red")
    copy = image.copy()
    ImageDraw.Draw(copy).rectangle((30, 30, 90, 90), fill="white")
    left, upper, right, lower = Image.fromarray(covered(mask_of(image, copy))).getbbox() or ()
    assert (left, upper, right, lower) == pytest.approx((30, 30, 91, 91), abs=3)


def test_holes_in_a_hatched_stroke_are_filled() -> None:
    copy = photo()
    draw = ImageDraw.Draw(copy)
    for y in range(100, 200, 6):
        draw.line((100, y, 300, y), fill="red", width=4)
    assert covered(mask_of(photo(), copy))[104:190, 106:294].all()


@pytest.mark.parametrize("quality", [None, 90, 50])
def test_a_copy_without_marks_is_refused(quality: int | None) -> None:
    with pytest.raises(UnusableImage, match="`mask` is a copy of `image` without marks"):
        mask_of(photo(), jpeg(photo(), quality))


def test_a_photo_of_something_else_is_refused() -> None:
    with pytest.raises(UnusableImage, match="`mask` shows another picture than `image`"):
        mask_of(photo(), photo(seed=2))


@pytest.mark.parametrize("ground", ["black", (6, 6, 6)])
def test_an_empty_mask_is_refused(ground: Any) -> None:
    with pytest.raises(UnusableImage, match="`mask` is empty"):
        mask_of(photo(), Image.new("RGB", SIZE, ground))


def test_a_mask_of_everything_is_allowed() -> None:
    assert covered(mask_of(photo(), Image.new("RGB", SIZE, "white"))).all()


# Without an attachment


def test_what_is_transparent_in_the_picture_is_repainted() -> None:
    image = photo()
    image.putalpha(stroke_mask().point(lambda level: 255 - level))
    canvas = prepare_canvas(image, None, NOTHING)
    assert same(canvas.mask, stroke_mask())
    kept = ~covered(stroke_mask())
    assert (np.asarray(canvas.image)[kept] == np.asarray(photo())[kept]).all()


def test_half_transparent_edges_leave_no_pale_fringe() -> None:
    image = Image.new("RGB", SIZE, (90, 10, 10))
    image.putalpha(Image.linear_gradient("L").resize(SIZE))
    result = np.asarray(composite(prepare_canvas(image, None, NOTHING), Image.new("RGB", (9, 9))))
    assert result[..., 0].max() <= 90
    assert result[5:, :, 1:].max() <= 10


def test_a_picture_that_is_a_little_transparent_everywhere_is_masked_by_the_area() -> None:
    image = photo()
    image.putalpha(200)
    canvas = prepare_canvas(image, None, Region(area="left"))
    assert canvas.image.mode == "RGB"
    assert canvas.mask.getbbox() == (0, 0, 240, 360)
    with pytest.raises(RequestError, match="There is nothing to repaint yet"):
        prepare_canvas(image, None, NOTHING)


@pytest.mark.parametrize(
    ("area", "box"),
    [
        ("left", (0, 0, 240, 360)),
        ("centre", (120, 90, 360, 270)),
        ("10 20 50 30", (48, 72, 288, 180)),
    ],
)
def test_an_area_is_repainted(area: str, box: tuple[int, int, int, int]) -> None:
    mask = mask_of(photo(), None, area=area)
    assert mask.getbbox() == box
    assert mask.crop(box).getextrema() == (255, 255)


def test_the_border_leaves_the_centre() -> None:
    inverse = mask_of(photo(), None, area="border").point(lambda level: 255 - level)
    assert same(inverse, mask_of(photo(), None, area="centre"))


def test_a_mask_goes_before_an_area() -> None:
    mask = mask_of(photo(), stroke_mask().convert("RGB"), area="left")
    assert same(mask, stroke_mask())


def test_nothing_given_is_refused_with_what_to_do() -> None:
    with pytest.raises(RequestError, match="Attach a `mask`, name an `area`, or grow the picture"):
        prepare_canvas(photo(), None, NOTHING)


# Grown sides

ALL_SIDES = {"left": 50, "right": 10, "top": 25, "bottom": 100}
OLD = (240, 90, 240 + 480, 90 + 360)
"""Where the picture lies once it has grown so."""


def test_the_canvas_grows_by_percent_of_the_pictures_own_sides() -> None:
    canvas = prepare_canvas(photo(), None, Region(**ALL_SIDES))
    assert canvas.image.size == canvas.mask.size == (240 + 480 + 48, 90 + 360 + 360)
    assert same(canvas.image.crop(OLD), photo())
    assert canvas.mask.crop(OLD).getextrema() == (0, 0)


def test_far_from_the_picture_all_is_repainted_and_close_to_it_ever_less() -> None:
    line = np.asarray(mask_of(photo(), None, **ALL_SIDES))[250].astype(int)
    assert (line[:230] == 255).all()
    seam = line[230:240]
    assert (np.diff(seam) <= 0).all()
    assert 0 < seam[-1] < 128


def test_the_seam_begins_with_the_colours_of_the_picture() -> None:
    image = photo()
    canvas = prepare_canvas(image, None, Region(right=50))
    painted = composite(canvas, Image.new("RGB", (96, 48), (0, 255, 0)))
    beside, edge = (np.asarray(painted, int)[:, x] for x in (480, 479))
    ours, theirs = np.abs(beside - edge).mean(), np.abs(edge - (0, 255, 0)).mean()
    assert ours < theirs / 3
    assert same(painted.crop((0, 0, *SIZE)), image)
    assert painted.getpixel((600, 100)) == (0, 255, 0)


@pytest.mark.parametrize("percent", [1, 2, 100])
def test_even_one_percent_reaches_full_white(percent: int) -> None:
    mask = np.asarray(mask_of(photo(), None, right=percent))
    assert (mask[:, -1] == 255).all()
    assert (mask[:, :480] == 0).all()


def test_inpainting_and_growing_go_together() -> None:
    mask = mask_of(photo(), stroke_mask().convert("RGB"), **ALL_SIDES)
    assert same(mask.crop(OLD), stroke_mask())
    assert (np.asarray(mask)[:80] == 255).all()


def test_beside_what_is_repainted_the_old_colours_do_not_shine_through() -> None:
    mask = np.asarray(mask_of(photo(), None, area="left", left=20))
    assert (mask[:, : 96 + 240] == 255).all()


def test_growing_beyond_40_megapixels_is_refused() -> None:
    large = Image.new("RGB", (6000, 5000))
    with pytest.raises(RequestError, match="would grow to 12000 × 5000 pixels"):
        prepare_canvas(large, None, Region(left=100))
    with pytest.raises(RequestError, match="would grow to 12000 × 5000 pixels"):
        preview(encode(large, "JPEG"), None, Region(left=100))


def test_growing_beyond_eight_to_one_is_refused_before_the_preview_is_drawn() -> None:
    long = Image.new("RGB", (700, 100))
    assert prepare_canvas(long, None, Region(left=10)).image.size == (770, 100)
    with pytest.raises(UnusableImage, match="`image` is 840 × 100 pixels, longer than 8:1"):
        preview(encode(long, "PNG"), None, Region(left=20))
    with pytest.raises(UnusableImage, match="`image` is 1 × 40000 pixels, longer than 8:1"):
        preview(HOSTILE["1 × 40000"].data, None, Region(area="top"))


# Adjustments


def adjusted(*adjustments: Adjustment, **region: Any) -> Image.Image:
    return mask_of(photo(), stroke_mask().convert("RGB"), adjustments=adjustments, **region)


def test_grow_and_shrink_move_the_edge_by_two_percent() -> None:
    ten = 10  # pixels, of 480
    assert overlap(adjusted("grow"), stroke_mask(width=36 + 2 * ten)) > 0.9
    assert overlap(adjusted("shrink"), stroke_mask(width=36 - 2 * ten)) > 0.85
    assert overlap(adjusted("grow", "shrink"), stroke_mask()) > 0.95


def test_feather_softens_the_edge_and_leaves_it_where_it_is() -> None:
    mask = adjusted("feather")
    assert overlap(mask, stroke_mask()) > 0.93
    levels = np.asarray(mask)
    assert ((levels > 10) & (levels < 245)).sum() > 2 * (360 + 480)


def test_invert_keeps_what_was_repainted() -> None:
    assert same(adjusted("invert"), stroke_mask().point(lambda level: 255 - level))
    assert same(adjusted("invert", "invert"), stroke_mask())


def test_the_order_of_the_adjustments_counts() -> None:
    assert overlap(adjusted("invert", "grow"), adjusted("grow", "invert")) < 0.95


def test_shrinking_does_not_pull_the_mask_from_the_border_of_the_picture() -> None:
    mask = mask_of(photo(), None, area="left", adjustments=("shrink",))
    assert mask.getbbox() == (0, 0, 230, 360)


@pytest.mark.parametrize("adjustments", [("shrink",), ("shrink", "shrink"), ("invert", "invert")])
def test_shrinking_leaves_grown_sides_and_the_picture_as_they_are(
    adjustments: tuple[Adjustment, ...],
) -> None:
    assert same(
        mask_of(photo(), None, **ALL_SIDES, adjustments=adjustments),
        mask_of(photo(), None, **ALL_SIDES),
    )


def test_growing_reaches_from_the_sides_into_the_picture() -> None:
    mask = covered(mask_of(photo(), None, right=50, adjustments=("grow",)))
    assert mask[:, 472:].all()
    assert not mask[:, :468].any()


def test_invert_of_a_grown_picture_exchanges_what_is_kept_of_the_picture() -> None:
    mask = mask_of(photo(), None, area="left", right=50, adjustments=("invert",))
    assert (np.asarray(mask)[:, :240] == 0).all()
    assert (np.asarray(mask)[:, 240:] == 255).all()


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000)])
def test_large_masks_are_adjusted_like_small_ones(size: tuple[int, int]) -> None:
    adjustments = ("grow", "feather", "invert")
    image = Image.new("RGB", size)
    large = mask_of(image, None, area="10 20 50 30", right=20, adjustments=adjustments)
    small = mask_of(
        image.resize((size[0] // 4, size[1] // 4)),
        None,
        area="10 20 50 30",
        right=20,
        adjustments=adjustments,
    )
    assert overlap(large.resize(small.size), small) > 0.99


@pytest.mark.parametrize("adjustments", [("shrink",) * 3, ("shrink",) * 9])
def test_what_the_adjustments_leave_nothing_of_is_refused(
    adjustments: tuple[Adjustment, ...],
) -> None:
    with pytest.raises(RequestError, match="nothing is left to repaint"):
        adjusted(*adjustments)
    with pytest.raises(RequestError, match="nothing is left to repaint"):
        mask_of(photo(), Image.new("RGB", SIZE, "white"), adjustments=("invert",))


def test_a_disc_grows_into_a_disc() -> None:
    mask = np.zeros((101, 101), np.uint8)
    mask[50, 50] = 200
    y, x = np.mgrid[-50:51, -50:51]
    for radius in (0, 1, 2, 7, 20):
        disc = np.where(x * x + y * y <= radius * radius, 200, 0)
        assert np.array_equal(dilate(mask, radius), disc)
        assert np.array_equal(erode(255 - mask, radius), 255 - disc)
    assert np.array_equal(dilate(mask, 200), np.full_like(mask, 200))


# What the model gets, and what becomes of what it paints


def test_outside_of_the_mask_the_result_is_the_picture_bit_for_bit() -> None:
    soft = stroke_mask().filter(ImageFilter.GaussianBlur(9))
    canvas = prepare_canvas(photo(), soft.convert("RGB"), Region(left=10))
    result = np.asarray(composite(canvas, Image.new("RGB", (64, 48), (0, 255, 0))))
    outside, inside = np.asarray(canvas.mask) == 0, np.asarray(canvas.mask) == 255
    assert outside.sum() > 10_000
    assert (result[outside] == np.asarray(canvas.image)[outside]).all()
    assert (result[inside] == (0, 255, 0)).all()


@pytest.mark.parametrize("size", [(192, 144), (480, 368), (960, 720)])
def test_wherever_paint_shows_the_model_has_painted(size: tuple[int, int]) -> None:
    soft = stroke_mask().filter(ImageFilter.GaussianBlur(9))
    canvas = prepare_canvas(photo(), soft.convert("RGB"), Region(left=10))
    image, mask = model_inputs(canvas, size)
    assert image.size == mask.size == size
    assert (image.mode, mask.mode) == ("RGB", "L")
    assert set(np.unique(np.asarray(mask))) == {0, 255}
    unpainted = mask.point(lambda level: 255 - level).resize(
        canvas.mask.size, Image.Resampling.NEAREST
    )
    assert np.asarray(canvas.mask)[covered(unpainted)].max() < 2 * masks._PAINTED
    # and no more than that: the model sees what it has to go with
    reach = dilate(np.asarray(canvas.mask), 8) >= masks._PAINTED
    assert not (~covered(unpainted) & ~reach).any()


# What the member sees first


def magenta(shown: Image.Image) -> NDArray[np.bool_]:
    levels = np.asarray(shown.convert("RGB")).astype(int)
    red, green, blue = levels[..., 0], levels[..., 1], levels[..., 2]
    return (red - green > 60) & (blue - green > 25)


def test_the_overlay_is_small_and_shows_the_mask_in_colour() -> None:
    image = photo(size=(2000, 1500), grey=True)
    canvas = prepare_canvas(image, stroke_mask((2000, 1500), 150).convert("RGB"), NOTHING)
    data = overlay(canvas)
    assert len(data) <= 300_000
    shown = Image.open(io.BytesIO(data))
    assert shown.size == (1024, 768)
    expected = covered(canvas.mask.resize(shown.size))
    seen = magenta(shown)
    assert seen[expected].mean() > 0.9
    assert not seen[~expected].mean() > 0.01


@pytest.mark.parametrize("colour", ["white", "black", masks.TINT, (128, 128, 128)])
def test_the_edge_of_the_mask_is_seen_on_any_colour(colour: Any) -> None:
    canvas = prepare_canvas(Image.new("RGB", SIZE, colour), None, Region(area="centre"))
    shown = Image.open(io.BytesIO(overlay(canvas))).convert("L")
    line = np.asarray(shown)[180, 100:140].astype(int)
    assert line.max() - line.min() > 90


def test_noise_does_not_make_the_overlay_larger_than_allowed() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (1024, 1024, 3), dtype=np.uint8))
    assert len(overlay(prepare_canvas(noise, None, Region(area="left")))) <= 300_000


@pytest.mark.parametrize("adjustments", [(), ("grow", "feather")])
def test_the_preview_shows_what_the_canvas_will_be(adjustments: tuple[Adjustment, ...]) -> None:
    image = photo(size=(1600, 1200))
    copy = jpeg(stroke_on(image, "white", 120), 80)
    region = Region(left=25, adjustments=adjustments)
    shown = Image.open(
        io.BytesIO(preview(encode(image, "JPEG", quality=90), encode(copy, "PNG"), region))
    )
    canvas = prepare_canvas(image, copy, region)
    exact = Image.open(io.BytesIO(overlay(canvas)))
    assert shown.size == pytest.approx(exact.size, abs=1)
    exact = exact.resize(shown.size)
    difference = np.abs(np.asarray(shown, np.int16) - np.asarray(exact, np.int16))
    assert difference.mean() < 6


def test_the_preview_refuses_what_is_no_picture_by_the_name_of_the_option() -> None:
    good, bad = encode(photo(), "PNG"), HOSTILE["truncated PNG"].data
    with pytest.raises(UnusableImage, match="`mask` is damaged"):
        preview(good, bad, NOTHING)
    with pytest.raises(UnusableImage, match="`image` is damaged"):
        preview(bad, good, NOTHING)


def test_a_canvas_cannot_be_changed() -> None:
    canvas = prepare_canvas(photo(), None, Region(area="left"))
    assert isinstance(canvas, Canvas)
    composite(canvas, Image.new("RGB", SIZE, "green"))
    overlay(canvas, 100)
    assert same(canvas.image, photo())
    assert canvas.mask.size == SIZE
