"""How often a JPEG has all its pixels gone over: a file of a few kilobytes may ask for hours."""

from __future__ import annotations

import re

MOST_SCANS = 100
"""Of one JPEG: encoders make one, or some ten to have it appear bit by bit. One takes 14 bytes, and
100 of them took 9 s at 40 megapixels."""

MOST_STEPS = 50_000
"""Segments in a file, and bytes before its pixels that belong to none: Pillow walks these one by
one, some microseconds each."""

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""What begins a segment: no stuffed byte, and none of the marks that stand alone."""

_START_OF_SCAN, _END = 0xDA, 0xD9


def is_endless(data: bytes) -> bool:
    """Tell whether a file is a JPEG of more scans or segments than any encoder writes.

    It is walked as libjpeg does, so that nothing in a segment or behind the picture counts.
    """
    if not data.startswith(b"\xff\xd8"):
        return False
    position, scans, steps = 2, 0, 0
    while found := _MARKER.search(data, position):
        marker = data[found.end() - 1]
        if marker == _END:
            return False
        scans += marker == _START_OF_SCAN
        # between scans lie their pixels, which the search passes over at once
        steps += 1 if scans else 1 + found.start() - position
        if scans > MOST_SCANS or steps > MOST_STEPS:
            return True
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        position = found.end() + max(2, length)
    return False
