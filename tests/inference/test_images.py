"""What members attach becomes an upright picture in plain colours, or one sentence."""

from __future__ import annotations

import io
import math
import random
import subprocess
import sys
import warnings
from typing import Any

import pytest
from PIL import Image, ImageCms

from bot.errors import UnusableImage
from bot.inference.images import encode_webp, fit_size, flatten, open_image, read_size
from bot.inference.tools import SIZES

from ..hostile import BLUE, HOSTILE, RED, SIZE, encode, rotated, scene

WHITE = (255, 255, 255)
LOSSY = 14

MEGAPIXEL = 1024**2


def colours(image: Image.Image) -> list[Any]:
    """Return the colour in the white corner, on the red left and on the blue right of the scene."""
    width, height = image.size
    spots = ((0.06, 0.1), (0.25, 0.7), (0.75, 0.5))
    return [image.getpixel((int(x * width), int(y * height))) for x, y in spots]


def shows_the_scene(image: Image.Image, tolerance: int = 0) -> bool:
    found = zip(colours(image), (WHITE, RED, BLUE), strict=True)
    return all(
        abs(level - right) <= tolerance
        for seen, expected in found
        for level, right in zip(seen, expected, strict=True)
    )


@pytest.mark.parametrize("name", [name for name, file in HOSTILE.items() if not file.usable])
def test_what_is_no_picture_is_refused_in_a_sentence_that_names_the_option(name: str) -> None:
    with pytest.raises(UnusableImage) as caught:
        open_image(HOSTILE[name].data, name="image2")
    sentence = str(caught.value)
    assert sentence.startswith("`image2` ")
    assert sentence.endswith(".")
    assert sentence.count(". ") == 1
    assert len(sentence) < 130


@pytest.mark.parametrize("name", [name for name, file in HOSTILE.items() if file.usable])
def test_what_is_a_picture_after_all_is_read(name: str) -> None:
    image = open_image(HOSTILE[name].data)
    assert image.mode in ("RGB", "RGBA")
    assert image.size == (SIZE if name != "1 × 40000" else (1, 40000))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("zero bytes", "is an empty file"),
        ("text renamed .png", "cannot be read as a picture"),
        ("PDF", "cannot be read as a picture"),
        ("HEIC", "is a HEIC picture"),
        ("truncated JPEG", "is damaged or incomplete"),
        ("truncated PNG", "is damaged or incomplete"),
        ("bomb that claims 50000 × 50000", "has more than 40 megapixels"),
        ("bomb that claims 10000 × 10000", "has more than 40 megapixels"),
        ("bomb of 42 megapixels", "has more than 40 megapixels"),
        ("too many bytes", "has more than 25 MB"),
    ],
)
def test_the_sentence_says_what_is_wrong(name: str, problem: str) -> None:
    with pytest.raises(UnusableImage, match=problem):
        open_image(HOSTILE[name].data)


def test_a_bomb_is_refused_before_a_pixel_of_it_is_decoded() -> None:
    program = (
        "import resource, sys\n"
        "from bot.errors import UnusableImage\n"
        "from bot.inference.images import open_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    open_image(sys.stdin.buffer.read())\n"
        "except UnusableImage:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    for name in ("bomb of 42 megapixels", "bomb of 34 bytes"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=HOSTILE[name].data,
            capture_output=True,
            check=True,
        )
        assert int(done.stdout) < 20_000  # kilobytes; the pixels would take at least 42,000


def test_pillows_own_limit_is_left_to_others() -> None:
    limit = Image.MAX_IMAGE_PIXELS
    open_image(HOSTILE["AVIF"].data)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP"])
def test_the_content_decides_about_the_kind(kind: str) -> None:
    options: dict[str, Any] = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    assert shows_the_scene(open_image(encode(scene(), kind, **options)), LOSSY)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("at_most", [None, 48])
def test_photos_are_upright_however_the_camera_was_held(
    orientation: int, at_most: int | None
) -> None:
    image = open_image(rotated(orientation), at_most=at_most)
    assert image.size == (SIZE if at_most is None else (48, 32))
    assert shows_the_scene(image, LOSSY)


def test_a_broken_description_does_not_spoil_a_good_picture() -> None:
    data = encode(scene(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff nonsense")
    assert shows_the_scene(open_image(data), LOSSY)
    data = encode(scene(), "PNG", icc_profile=b"no profile at all")
    assert shows_the_scene(open_image(data))


def test_16_bits_become_8_and_are_not_clipped_to_white() -> None:
    image = open_image(HOSTILE["16-bit"].data)
    row = [image.getpixel((x, 5)) for x in range(SIZE[0])]
    for x, colour in enumerate(row):
        assert isinstance(colour, tuple)
        assert len(set(colour)) == 1
        assert colour[0] == pytest.approx(255 * x / (SIZE[0] - 1), abs=1.5)


def test_cmyk_has_its_colours() -> None:
    assert shows_the_scene(open_image(HOSTILE["CMYK"].data), LOSSY)


@pytest.mark.parametrize("name", ["animated GIF", "animated WebP", "MPO"])
def test_of_an_animation_the_first_frame_is_taken(name: str) -> None:
    assert shows_the_scene(open_image(HOSTILE[name].data), LOSSY)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "RGBA"])
def test_every_mode_becomes_rgb_where_nothing_is_transparent(mode: str) -> None:
    original = scene(mode)
    image = open_image(encode(original, "PNG"))
    assert image.mode == "RGB"
    assert colours(image) == colours(original.convert("RGB"))


def test_transparency_is_kept_where_there_is_some() -> None:
    image = open_image(HOSTILE["palette with transparency"].data)
    assert image.mode == "RGBA"
    assert [alpha for *_, alpha in colours(image)] == [0, 255, 255]
    assert shows_the_scene(flatten(image))
    keyed = open_image(encode(scene(), "PNG", transparency=RED))
    assert [alpha for *_, alpha in colours(keyed)] == [255, 0, 255]
    half = scene("LA")
    half.putalpha(128)
    assert open_image(encode(half, "PNG")).mode == "RGBA"


def test_what_is_transparent_is_flattened_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (200, 0, 0, 128))
    flat = flatten(image)
    assert flat.mode == "RGB"
    assert flat.getpixel((0, 0)) == WHITE
    assert flat.getpixel((1, 0)) == pytest.approx((227, 127, 127), abs=1)
    assert flatten(flat) is flat


def test_colours_of_another_space_look_as_they_were_meant() -> None:
    tagged = encode(scene(), "PNG", icc_profile=_swapped_primaries())
    assert colours(open_image(tagged))[1][1] > 150  # its red is called green by the file
    plain = encode(scene(), "PNG", icc_profile=_srgb())
    assert shows_the_scene(open_image(plain))


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _swapped_primaries() -> bytes:
    """Return sRGB's profile under another name, with the primaries of red and green exchanged."""
    profile = _srgb().replace(b"s\0R\0G\0B", b"o\0d\0d\0 ").replace(b"sRGB", b"odd ")
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_a_small_copy_shows_the_same(kind: str) -> None:
    large = scene().resize((960, 640), Image.Resampling.NEAREST)
    image = open_image(encode(large, kind, quality=95), at_most=100)
    assert image.size == (100, 67)
    assert shows_the_scene(image, LOSSY)
    assert open_image(encode(large, kind), at_most=2000).size == (960, 640)


def test_nothing_that_a_file_tells_beside_its_pixels_goes_further() -> None:
    exif = Image.Exif()
    exif[0x010E] = "at home"
    assert open_image(encode(scene(), "JPEG", exif=exif)).info == {}


def test_the_size_is_told_without_decoding() -> None:
    assert read_size(encode(scene(), "PNG")) == SIZE
    with pytest.raises(UnusableImage, match="`mask` has more than 40 megapixels"):
        read_size(HOSTILE["bomb that claims 50000 × 50000"].data, name="mask")


def test_bytes_that_were_changed_at_random_never_raise_anything_else() -> None:
    chance = random.Random(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP"):
            good = encode(scene(), kind)
            for _ in range(150):
                data = bytearray(good)
                for _ in range(chance.randint(1, 8)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                try:
                    image = open_image(bytes(data))
                except UnusableImage:
                    continue
                assert image.mode in ("RGB", "RGBA")


@pytest.mark.parametrize("size", [size for size in SIZES.values() if size != (512, 512)])
def test_a_size_that_the_models_draw_in_stays_as_it_is(size: tuple[int, int]) -> None:
    assert fit_size(size, MEGAPIXEL) == size


@pytest.mark.parametrize("area", [128**2, 512**2, MEGAPIXEL])
@pytest.mark.parametrize(
    "size", [(4032, 3024), (3, 2), (1080, 2340), (1920, 1080), (997, 1009), (800, 101), (100, 799)]
)
def test_sizes_are_near_the_area_and_the_ratio(size: tuple[int, int], area: int) -> None:
    width, height = fit_size(size, area)
    assert width % 16 == height % 16 == 0
    assert 0.75 * area <= width * height <= 1.04 * area
    # one side is wrong by half of 16 pixels at most, or the other
    distortion = abs(math.log(width * size[1] / (height * size[0])))
    assert distortion <= 12 / min(width, height)


def test_the_longest_picture_is_eight_to_one() -> None:
    assert fit_size((800, 100), MEGAPIXEL) == (2912, 368)
    with pytest.raises(UnusableImage, match=r"`image` is 1 × 40000 pixels.*Crop it"):
        fit_size((1, 40000), MEGAPIXEL)
    with pytest.raises(UnusableImage, match="`image3` is 900 × 100 pixels"):
        fit_size((900, 100), MEGAPIXEL, name="image3")


def test_small_copies_for_the_reply_are_webp() -> None:
    data = encode_webp(scene().resize((960, 640)), side=300)
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    assert image.size == (300, 200)
    assert shows_the_scene(image.convert("RGB"), LOSSY)
    assert Image.open(io.BytesIO(encode_webp(scene(), side=300))).size == SIZE
