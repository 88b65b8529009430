"""Pictures that members attach: checked, decoded, turned upright, and in sRGB."""

from __future__ import annotations

import importlib
import io
import math
import struct
import warnings
import zlib

from PIL import Image, ImageCms, UnidentifiedImageError

from bot.errors import UnusableImage
from bot.i18n import _
from bot.inference.scans import is_endless

MAX_BYTES = 25 * 1024**2
"""Of one attached file."""

MAX_PIXELS = 40_000_000
"""Of one picture, or of a canvas that was grown: 120 MB as RGB."""

MAX_RATIO = 8
"""Of the longer side to the shorter one: beyond it one megapixel is less than 363 pixels thin."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP")
"""The decoders that a file may reach: no EPS or PDF, which are programs, nor the rarer ones."""

_STEP = 16
"""Sides are multiples of it: the autoencoder takes 8 pixels for one, the transformer 2 of these."""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_FAULTS = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error),
    *(IndexError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError),
)
"""What Pillow's decoders raise for a file that is cut off or does not keep to its format."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""From the orientation in EXIF to what undoes it."""

_ORIENTATION = 0x0112


def open_image(data: bytes, *, name: str = "image", at_most: int | None = None) -> Image.Image:
    """Return the first frame of a file as "RGB", or "RGBA" where part of it is transparent.

    `name` is the option that the sentence of an error names. With `at_most`, the longer side is
    reduced to so many pixels, which is cheaper than to decode all of a JPEG. Raises UnusableImage.
    """
    with warnings.catch_warnings():
        # of what Pillow warns us we judge ourselves: a large size, a broken EXIF block
        warnings.simplefilter("ignore")
        image = _identify(data, name)
        try:
            return _decode(image, at_most)
        except MemoryError as error:
            raise UnusableImage(
                _("`{name}` takes more memory than there is.", name=name),
                _("Make it smaller and try again."),
            ) from error
        except _FAULTS as error:
            raise _damaged(name) from error


def read_size(data: bytes, *, name: str = "image") -> tuple[int, int]:
    """Return width and height as the file's header has them, not turned upright, in pixels.

    Raises UnusableImage for what `open_image` refuses before it decodes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _identify(data, name).size


def flatten(image: Image.Image) -> Image.Image:
    """Return a picture as "RGB", what is transparent on white."""
    if image.mode == "RGB":
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def fit_size(size: tuple[int, int], area: int, *, name: str = "image") -> tuple[int, int]:
    """Return width and height, multiples of 16, near `area` pixels and in the ratio of `size`.

    Raises UnusableImage as `check_ratio` does.
    """
    check_ratio(size, name=name)
    width, height = size
    ideal = math.sqrt(area * width / height), math.sqrt(area * height / width)
    near = [
        [max(_STEP, (int(side) // _STEP + step) * _STEP) for step in (-1, 0, 1)] for side in ideal
    ]
    fits = [(w, h) for w in near[0] for h in near[1] if w * h <= 1.04 * area]

    def fault(fit: tuple[int, int]) -> float:
        # a distorted picture is worse than one that is a little smaller
        ratio = abs(math.log(fit[0] * height / (fit[1] * width)))
        return ratio + math.log(fit[0] * fit[1] / area) ** 2

    return min(fits or [(near[0][0], near[1][0])], key=fault)


def check_ratio(size: tuple[int, int], *, name: str = "image") -> None:
    """Raise UnusableImage where the longer side is more than eight times the shorter one."""
    if max(size) > MAX_RATIO * min(size):
        raise UnusableImage(
            _(
                "`{name}` is {width} × {height} pixels, longer than {ratio}:1.",
                name=name,
                width=size[0],
                height=size[1],
                ratio=MAX_RATIO,
            ),
            _("Crop it and try again."),
        )


def encode_webp(image: Image.Image, *, side: int | None = None, quality: int = 80) -> bytes:
    """Return a picture as WebP, its longer side reduced to `side` pixels; quality is 0 to 100."""
    if side is not None and max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()


def _identify(data: bytes, name: str) -> Image.Image:
    """Return a picture whose header was read and found in order, but none of its pixels."""
    if not data:
        raise UnusableImage(
            _("`{name}` is an empty file.", name=name), _("Attach the picture again.")
        )
    if len(data) > MAX_BYTES:
        raise UnusableImage(
            _("`{name}` has more than {most} MB.", name=name, most=MAX_BYTES // 1024**2),
            _("Save it as JPEG or WebP, or make it smaller."),
        )
    if is_endless(data):
        raise _damaged(name)
    try:
        image = _open(data)
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except _FAULTS as error:
        if _is_heic(data):
            raise UnusableImage(
                _("`{name}` is a HEIC picture, which cannot be read here.", name=name),
                _("Save it as JPEG."),
            ) from error
        raise UnusableImage(
            _("`{name}` cannot be read as a picture.", name=name),
            _("Attach a PNG, JPEG, WebP, GIF or AVIF file."),
        ) from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name)
    return image


def _damaged(name: str) -> UnusableImage:
    return UnusableImage(
        _("`{name}` is damaged or incomplete.", name=name), _("Save it anew and attach it again.")
    )


def _too_large(name: str) -> UnusableImage:
    return UnusableImage(
        _("`{name}` has more than {most} megapixels.", name=name, most=MAX_PIXELS // 10**6),
        _("Make it smaller and try again."),
    )


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if not _is_heic(data):
            raise
    try:
        # not among our dependencies, for its wheels bundle x265 under the GPL
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError as error:
        raise UnidentifiedImageError("no decoder for HEIC") from error
    return Image.open(io.BytesIO(data), formats=("HEIF",))


def _is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS


def _decode(image: Image.Image, at_most: int | None) -> Image.Image:
    orientation = _orientation(image)
    if at_most is not None:
        # a JPEG decodes to a half, a quarter or an eighth of its size, but not below ours
        image.draft(None, within(image.size, at_most))
    image.load()
    profile = image.info.get("icc_profile")
    image = _plain(image)
    if at_most is not None:
        # a gap of 1: averaged to less than twice the size first, which takes a third of the time
        image.thumbnail((at_most, at_most), Image.Resampling.BICUBIC, reducing_gap=1.0)
    image = _in_srgb(image, profile)
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        image = image.convert("RGB")
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    # text, thumbnails and positions of cameras go no further
    image.info.clear()
    return image


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(_ORIENTATION)
    except _FAULTS:
        return None  # the pixels may be in order where their description is not


def within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the size in the same proportions whose longer side is `side` at most."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _plain(image: Image.Image) -> Image.Image:
    """Return a picture as "L", "RGB", "RGBA" or "CMYK"."""
    if image.mode.startswith("I;16"):
        # Pillow 13 clips at 255 instead, which makes nearly all of a 16-bit picture white
        return image.point(lambda value: value * (1 / 256)).convert("L")
    transparent = image.has_transparency_data
    if image.mode in (("RGBA",) if transparent else ("L", "RGB", "CMYK")):
        return image  # convert() would copy it
    return image.convert("RGBA" if transparent else "RGB")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return "RGB" or "RGBA" in sRGB, which the models and the PNGs that we write take for granted.

    Without it photos of telephones (Display P3) would come back paler, and CMYK too bright.
    """
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    if profile and image.mode != "L":
        try:
            source = ImageCms.getOpenProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, source, target, outputMode=mode)
                assert converted is not None
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a profile that is broken, or one for grey: the pixels will do without
    return image if image.mode == mode else image.convert(mode)
