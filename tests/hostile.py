"""Files that members attach by accident or on purpose, made here with Pillow and by hand.

Each has two sides of a scene: whether a picture can be had of it, and the bytes. They are made when
they are first asked for, so that collecting the tests costs nothing.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from PIL import Image, ImageDraw

SIZE = (96, 64)
"""Of the scene: wider than high, so that one that lies on its side is noticed."""

RED, BLUE = (220, 30, 30), (30, 60, 200)


@dataclass(frozen=True)
class Hostile:
    """A file, and whether it is a picture after all."""

    make: Callable[[], bytes]
    usable: bool

    @cached_property
    def data(self) -> bytes:
        """The bytes of the file."""
        return self.make()


def scene(mode: str = "RGB") -> Image.Image:
    """Return a picture that is red on the left and blue on the right, with a white corner above."""
    image = Image.new("RGB", SIZE, BLUE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, SIZE[0] // 2 - 1, SIZE[1]), fill=RED)
    draw.rectangle((0, 0, 15, 15), fill="white")
    return image.convert(mode)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a picture as a file of the kind that Pillow calls so."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 2) -> bytes:
    """Return a PNG that claims a size and has next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(64))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def rotated(orientation: int) -> bytes:
    """Return the scene as a camera saves it that was held so: upright once EXIF is heeded."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = scene() if undo is None else scene().transpose(undo)
    return encode(stored, "JPEG", quality=95, exif=exif)


def sixteen_bit() -> bytes:
    """Return a grey PNG of 16 bits that rises from black on the left to white on the right."""
    row = struct.pack(f"<{SIZE[0]}H", *(65535 * x // (SIZE[0] - 1) for x in range(SIZE[0])))
    image = Image.frombytes("I;16", SIZE, SIZE[1] * row)
    return encode(image, "PNG")


def animated(kind: str) -> bytes:
    """Return an animation whose first frame is the scene, and whose others are green."""
    others = [Image.new("RGB", SIZE, (0, level, 0)) for level in (120, 200)]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 95}
    return encode(
        scene(), kind, save_all=True, append_images=others, duration=100, loop=0, **options
    )


def palette_with_transparency() -> bytes:
    """Return a PNG with a palette, in which the white corner is transparent."""
    image = scene().quantize(3)
    white = image.getpixel((0, 0))
    return encode(image, "PNG", transparency=white)


def _cut(data: bytes) -> bytes:
    return data[: len(data) * 6 // 10]


def _noise(kind: str, **options: Any) -> bytes:
    return encode(Image.effect_noise((300, 200), 90).convert("RGB"), kind, **options)


HOSTILE: Mapping[str, Hostile] = MappingProxyType(
    {
        "zero bytes": Hostile(lambda: b"", usable=False),
        "one byte": Hostile(lambda: b"\x89", usable=False),
        "text renamed .png": Hostile(lambda: b"This is my holiday photo.\n" * 40, usable=False),
        "PNG signature and text": Hostile(lambda: b"\x89PNG\r\n\x1a\n" + b"x" * 500, usable=False),
        "PDF": Hostile(lambda: encode(scene(), "PDF"), usable=False),
        "EPS": Hostile(lambda: encode(scene(), "EPS"), usable=False),
        "TIFF": Hostile(lambda: encode(scene(), "TIFF"), usable=False),
        "SVG": Hostile(lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', usable=False),
        "HEIC": Hostile(lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400), usable=False),
        "truncated PNG": Hostile(lambda: _cut(_noise("PNG")), usable=False),
        "truncated JPEG": Hostile(lambda: _cut(_noise("JPEG")), usable=False),
        "truncated WebP": Hostile(lambda: _cut(_noise("WEBP")), usable=False),
        "truncated GIF": Hostile(lambda: _cut(_noise("GIF")), usable=False),
        "truncated AVIF": Hostile(lambda: _cut(_noise("AVIF")), usable=False),
        "truncated BMP": Hostile(lambda: _cut(_noise("BMP")), usable=False),
        "bomb that claims 50000 × 50000": Hostile(lambda: png_header(50000, 50000), usable=False),
        "bomb that claims 10000 × 10000": Hostile(lambda: png_header(10000, 10000), usable=False),
        "bomb of 42 megapixels": Hostile(
            lambda: encode(Image.new("1", (7000, 6000)), "PNG"), usable=False
        ),
        "bomb of 34 bytes": Hostile(
            lambda: encode(Image.new("L", (9000, 9000)), "WEBP", lossless=True, quality=0),
            usable=False,
        ),
        "zero width": Hostile(lambda: png_header(0, 100), usable=False),
        "too many bytes": Hostile(
            lambda: encode(scene(), "PNG") + bytes(25 * 1024**2), usable=False
        ),
        "1 × 40000": Hostile(lambda: encode(Image.new("RGB", (1, 40000), RED), "PNG"), usable=True),
        "JPEG renamed .png": Hostile(lambda: encode(scene(), "JPEG", quality=95), usable=True),
        "16-bit": Hostile(sixteen_bit, usable=True),
        "CMYK": Hostile(lambda: encode(scene("CMYK"), "JPEG", quality=95), usable=True),
        "animated GIF": Hostile(lambda: animated("GIF"), usable=True),
        "animated WebP": Hostile(lambda: animated("WEBP"), usable=True),
        "MPO": Hostile(lambda: animated("MPO"), usable=True),
        "EXIF-rotated": Hostile(lambda: rotated(6), usable=True),
        "palette with transparency": Hostile(palette_with_transparency, usable=True),
        "one bit": Hostile(lambda: encode(scene("1"), "PNG"), usable=True),
        "AVIF": Hostile(lambda: encode(scene(), "AVIF", quality=90), usable=True),
    }
)
"""By what is wrong with it. A usable one may still be refused by a tool: 1 × 40000 is too long."""
