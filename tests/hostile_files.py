"""More than 200 files that are made to hurt a decoder, all by this script from one small scene.

Each is what somebody could attach: cut off, with a byte turned over, lying about its size, with
broken profiles, two formats at once, or of a format that no picture should have.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image, features

from tests.hostile import encode, png_header, scene

READ = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP")
"""Formats that the bot reads."""

NOT_READ = ("TIFF", "ICO", "ICNS", "PPM", "TGA", "PCX", "SGI", "DDS", "JPEG2000")
"""Formats that Pillow would read too."""

EXTREMES = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)

TEXTS = {
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "SVG with an entity": b'<!DOCTYPE s [<!ENTITY a "aaaa">]><svg>&a;&a;&a;</svg>',
    "HTML": b"<html><script>alert(1)</script></html>",
    "PDF": b"%PDF-1.7\n1 0 obj <</Type /Catalog>> endobj\ntrailer <</Root 1 0 R>>\n%%EOF",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n",
    "XPM": b'/* XPM */\nstatic char *a[] = {"1 1 1 1", "a c #000", "a"};',
    "XBM": b"#define a_width 8\n#define a_height 8\nstatic char a_bits[] = {0x00};",
    "PPM of 10^9 pixels": b"P6 1000000000 1 255\n",
    "shell": b"#!/bin/sh\nid\n",
    "pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + zlib.compress(bytes(10**6)),
    "ELF": b"\x7fELF\x02\x01\x01" + bytes(400),
    "zeros": bytes(5000),
    "ones": b"\xff" * 5000,
    "every byte": bytes(range(256)) * 8,
    "UTF-16": "ÿþ nothing to see".encode("utf-16"),
}


def corpus() -> dict[str, bytes]:
    """Return all files by what they are."""
    files = dict(TEXTS)
    for kind in READ:
        good = _good(kind)
        files |= {f"{kind} cut at {n}": good[:n] for n in _cuts(good)}
        files |= dict(_flipped(kind, good))
        files |= dict(_polyglots(kind, good))
    files |= {f"{kind}, not read": encode(scene(), kind) for kind in NOT_READ if _can_write(kind)}
    for make in (_sizes, _blocks, _profiles, _modes, _jpeg_segments, _png_chunks, _gif_blocks):
        files |= dict(make())
    return files


def _good(kind: str, **options: Any) -> bytes:
    return encode(scene(), kind, **options)


def _can_write(kind: str) -> bool:
    return kind in Image.SAVE and (kind != "JPEG2000" or features.check("jpg_2000"))


def _cuts(good: bytes) -> list[int]:
    shares = (len(good) * tenths // 10 for tenths in (1, 3, 5, 7, 9))
    return sorted({1, 3, 7, 12, 20, 33, *shares, len(good) - 1})


def _flipped(kind: str, good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file with one byte turned over, early and late."""
    for position in (4, 9, 13, 17, 25, 40, len(good) // 2, len(good) - 5):
        content = bytearray(good)
        content[position] ^= 0xFF
        yield f"{kind} with byte {position} turned over", bytes(content)


def _polyglots(kind: str, good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield files that are a picture to one reader, and something else to another."""
    archive = io.BytesIO(good)
    with zipfile.ZipFile(archive, "a") as entries:
        entries.writestr("../../evil.sh", "id")
    yield f"{kind} and ZIP", archive.getvalue()
    yield f"{kind} and HTML", good + TEXTS["HTML"]
    yield f"PDF and {kind}", TEXTS["PDF"] + good
    yield f"{kind} twice", good * 2
    yield f"{kind} behind 100 zeros", bytes(100) + good


def _sizes() -> Iterator[tuple[str, bytes]]:
    """Yield files whose header claims another size than their pixels have."""
    for width in EXTREMES:
        for height in EXTREMES:
            yield f"PNG of {width} × {height}", png_header(width, height)
    patches = {"JPEG": (_after(_good("JPEG"), b"\xff\xc0") + 3, ">H"), "GIF": (6, "<H")}
    for kind, (position, form) in patches.items():
        for value in (0, 1, 0x7FFF, 0xFFFF):
            yield f"{kind} {value} long", _patched(_good(kind), position, struct.pack(form, value))
    for value in (0, 1, -1, -(2**31), 2**31 - 1):
        for name, position in (("wide", 18), ("high", 22)):
            yield f"BMP {value} {name}", _patched(_good("BMP"), position, struct.pack("<i", value))
    for bits in (0, 2, 3, 15, 16, 64, 65535):
        yield f"BMP of {bits} bits", _patched(_good("BMP"), 28, struct.pack("<H", bits))
    for compression in (1, 2, 3, 4, 5, 99):
        packed = struct.pack("<I", compression)
        yield f"BMP compressed as {compression}", _patched(_good("BMP"), 30, packed)
    yield "WebP canvas of 2^24", _patched(_animated("WEBP"), 24, b"\xff" * 6)


def _blocks() -> Iterator[tuple[str, bytes]]:
    """Yield files with a block whose length is wrong."""
    for value in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF):
        png, webp = _good("PNG"), _good("WEBP")
        yield (
            f"PNG with IDAT of {value}",
            _patched(png, png.index(b"IDAT") - 4, value.to_bytes(4, "big")),
        )
        yield f"WebP of {value}", _patched(webp, 4, value.to_bytes(4, "little"))
        yield f"WebP with a chunk of {value}", _patched(webp, 16, value.to_bytes(4, "little"))
        avif = _good("AVIF")
        yield f"AVIF with ftyp of {value}", _patched(avif, 0, value.to_bytes(4, "big"))
        position = avif.index(b"meta") - 4
        yield f"AVIF with meta of {value}", _patched(avif, position, value.to_bytes(4, "big"))


def _profiles() -> Iterator[tuple[str, bytes]]:
    """Yield files with broken colour profiles, EXIF and XMP, and orientations that are none."""
    profiles = {
        "empty": b"\0",
        "short": b"ICC",
        "noise": bytes(range(256)) * 20,
        "long": b"\xff" * 60_000,
        "lying": struct.pack(">I", 2**32 - 1) + b"lcms" + bytes(200) + struct.pack(">I", 2**31),
    }
    for kind in ("PNG", "JPEG", "WEBP", "AVIF"):
        for name, content in profiles.items():
            yield f"{kind} with ICC {name}", _good(kind, icc_profile=content)
        for orientation in (0, 9, 255, 65535):
            exif = Image.Exif()
            exif[0x0112] = orientation
            yield f"{kind} turned {orientation}", _good(kind, exif=exif)
    for kind in ("PNG", "JPEG", "WEBP"):  # the writer of AVIF would read it
        for name, content in (*profiles.items(), ("in a ring", _ring())):
            yield f"{kind} with EXIF {name}", _good(kind, exif=b"Exif\0\0" + content)
    for kind in ("JPEG", "WEBP", "AVIF"):
        yield f"{kind} with XMP", _good(kind, xmp=b"<x tiff:Orientation='9'>" + b"a" * 50_000)


def _ring() -> bytes:
    """Return an EXIF block of as many entries as fit, each with all of the block as its value."""
    count = 5000
    entries = (struct.pack("<HHLL", tag, 7, 60_000, 0) for tag in range(count))
    return b"II*\0" + struct.pack("<LH", 8, count) + b"".join(entries) + bytes(4)


def _modes() -> Iterator[tuple[str, bytes]]:
    """Yield pictures of all kinds of pixels, which are none the worse for that."""
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield f"PNG of {mode}", encode(scene("L" if mode == "I;16" else mode).convert(mode), "PNG")
    for mode in ("L", "RGB", "CMYK", "YCbCr"):
        yield f"JPEG of {mode}", encode(scene(mode), "JPEG")
    yield "interlaced PNG", _interlaced()
    yield "progressive JPEG", _good("JPEG", progressive=True)
    yield "lossless WebP", _good("WEBP", lossless=True)
    yield "interlaced GIF", _good("GIF", interlace=1)
    for kind in ("PNG", "GIF", "WEBP", "AVIF"):
        yield f"animated {kind}", _animated(kind)
        yield f"animated {kind}, cut", _animated(kind)[:-60]
    for size in ((1, 1), (1, 9), (9, 1)):
        for kind in READ:
            yield f"{kind} of {size}", encode(Image.new("RGB", size), kind)


def _interlaced() -> bytes:
    # Pillow writes none: the seven passes of a picture of one pixel are that pixel
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1)
    pixel = zlib.compress(b"\0\x10\x20\x30")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        map(chunk, (b"IHDR", b"IDAT", b"IEND"), (header, pixel, b""))
    )


def _animated(kind: str) -> bytes:
    return encode(scene(), kind, save_all=True, append_images=[scene("L").convert("RGB")] * 2)


def _jpeg_segments() -> Iterator[tuple[str, bytes]]:
    good, progressive = _good("JPEG"), _good("JPEG", progressive=True)
    for marker in (0xC8, 0xD0, 0xD8, 0xD9, 0xDC, 0xE2, 0xED, 0xEE, 0xFE):
        for length in (0, 1, 2, 0xFFFF):
            segment = bytes((0xFF, marker)) + length.to_bytes(2, "big")
            yield f"JPEG with {marker:X} of {length}", good[:2] + segment + good[2:]
    yield "JPEG of 100,000 segments", good[:2] + b"\xff\xe5\0\2" * 100_000 + good[2:]
    yield "JPEG behind a megabyte of nothing", good[:2] + bytes(10**6) + good[2:]
    yield "JPEG of 20,000 scans", many_scans(progressive, 20_000)
    yield "JPEG without tables", good.replace(b"\xff\xc4", b"\xff\xfe")


def many_scans(progressive: bytes, count: int) -> bytes:
    """Return a progressive JPEG whose last scan comes many times."""
    last, end = progressive.rindex(b"\xff\xda"), progressive.rindex(b"\xff\xd9")
    return progressive[:end] + progressive[last:end] * count + progressive[end:]


def _png_chunks() -> Iterator[tuple[str, bytes]]:
    good = _good("PNG")
    bomb = zlib.compress(bytes(20_000_000), 9)
    inserted = {
        "zTXt bomb": chunk(b"zTXt", b"a\0\0" + bomb),
        "iTXt bomb": chunk(b"iTXt", b"a\0\1\0\0\0" + bomb),
        "60 iTXt bombs": chunk(b"iTXt", b"a\0\1\0\0\0" + bomb) * 60,
        "iCCP bomb": chunk(b"iCCP", b"a\0\0" + bomb),
        "tEXt without a name": chunk(b"tEXt", b""),
        "second IHDR": good[8:33],
        "empty palette": chunk(b"PLTE", b""),
        "half a palette": chunk(b"PLTE", b"ab"),
        "tRNS of nothing": chunk(b"tRNS", b""),
        "gAMA of nothing": chunk(b"gAMA", b""),
        "acTL of 2^32": chunk(b"acTL", b"\xff" * 8),
        "fcTL of nothing": chunk(b"fcTL", b""),
        "EXIF of noise": chunk(b"eXIf", bytes(range(256))),
        "unknown, critical": chunk(b"ABCD", b"x"),
        "wrong checksum": chunk(b"tEXt", b"a\0b")[:-1] + b"\0",
        "20,000 private": chunk(b"prVt", b"") * 20_000,
    }
    yield from (
        (f"PNG with {name}", good[:33] + each + good[33:]) for name, each in inserted.items()
    )
    pixels = zlib.compress(bytes(50_000_000), 9)
    header, end = png_header(8, 8)[:33], chunk(b"IEND", b"")
    yield "PNG with more pixels than it has", header + chunk(b"IDAT", pixels) + end
    yield "PNG of empty IDATs", good[:33] + chunk(b"IDAT", b"") * 20_000 + good[33:]
    for depth, colour in ((3, 2), (16, 3), (8, 1), (255, 255), (0, 0)):
        yield f"PNG of {depth} bits, type {colour}", png_header(9, 9, depth=depth, colour=colour)


def _gif_blocks() -> Iterator[tuple[str, bytes]]:
    good = _good("GIF")
    start = 13 + 3 * 2 ** ((good[10] & 7) + 1)
    extension = b"\x21\xfe"
    yield (
        "GIF with a long comment",
        good[:start] + extension + b"\1a" * 200_000 + b"\0" + good[start:],
    )
    yield "GIF with many comments", good[:start] + (extension + b"\1a\0") * 50_000 + good[start:]
    yield "GIF without an end", good[:start] + extension + b"\xff" * 5000
    yield "GIF of 99 in a palette of 2", _patched(good, 10, b"\x80")
    for bits in (0, 1, 13, 255):
        position = good.index(b",", start) + 10
        yield f"GIF with codes of {bits} bits", _patched(good, position, bytes((bits,)))


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def _patched(content: bytes, position: int, patch: bytes) -> bytes:
    return content[:position] + patch + content[position + len(patch) :]


def _after(content: bytes, marker: bytes) -> int:
    return content.index(marker) + len(marker)
