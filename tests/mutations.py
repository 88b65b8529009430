"""Reads files that hypothesis has changed at random, for as long as it is told, short of memory.

Run as `python -m tests.mutations SECONDS FILE`: the last file lies in FILE, in case that it ends
the process. One that takes longer than 20 seconds does so, too.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import signal
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from bot.errors import UnusableImage
from bot.inference.images import MAX_PIXELS, open_image
from bot.inference.previews import MEMORY, SECONDS
from bot.inference.sandbox import limit_decoders, limit_memory
from bot.picture_facts import read_facts
from tests.hostile import encode, scene
from tests.hostile_files import READ, corpus

BATCH = 200
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
LARGEST = 100_000
"""Bytes of a file that is changed: larger ones take their time, and hide nothing more."""


def judge(content: bytes) -> str:
    """Read a file in all ways, and return its size, or the sentence that refuses it."""
    _read(content, at_most=100)
    verdict = _read(content)
    try:
        json.dumps(dict(read_facts(content, name="image").parameters))
    except UnusableImage as error:
        told = str(error)
    else:
        told = verdict
    assert told == verdict
    return verdict


def _read(content: bytes, at_most: int | None = None) -> str:
    try:
        image = open_image(content, at_most=at_most)
    except UnusableImage as error:
        sentence = str(error)
    else:
        assert image.mode in ("RGB", "RGBA")
        assert image.width * image.height <= MAX_PIXELS
        assert not image.info
        return "{} × {}".format(*image.size)
    assert sentence.startswith("`image` ")
    assert sentence.endswith(".")
    assert sentence.isprintable()
    return sentence


@st.composite
def mutated(draw: st.DrawFn, files: list[bytes]) -> bytes:
    """Return one of some files, with a few things changed."""
    content = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 300)))
        match draw(st.sampled_from(("byte", "number", "cut", "double", "insert", "end"))):
            case "byte":
                content[start:end] = bytes([draw(st.integers(0, 255))]) * (end - start)
            case "number":
                order = draw(st.sampled_from(("big", "little")))
                width = draw(st.sampled_from((1, 2, 4)))
                number = draw(st.sampled_from(NUMBERS)) % 256**width
                content[start : start + width] = number.to_bytes(width, order)
            case "cut":
                del content[start:end]
            case "double":
                content[start:start] = content[start:end] * draw(st.integers(1, 50))
            case "insert":
                content[start:start] = draw(st.binary(max_size=40))
            case "end":
                del content[start:]
    return bytes(content)


def main(budget: float, last: Path) -> None:
    """Judge files for so many seconds, a batch of them at least, and say how many."""
    faulthandler.enable()
    good = [encode(scene(), kind) for kind in READ]
    # half of what is changed was a picture: what is broken at once is never looked at closely
    hostile = [each for each in corpus().values() if 20 < len(each) < LARGEST]
    files = good * (len(hostile) // len(good)) + hostile
    limit_decoders()
    limit_memory(MEMORY)
    judged, end = 0, time.perf_counter() + budget

    @settings(
        max_examples=BATCH, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(mutated(files))
    def batch(content: bytes) -> None:
        nonlocal judged
        judged += 1
        last.write_bytes(content)
        signal.alarm(int(SECONDS))
        judge(content)

    for number in itertools.count():
        seed(number)(batch)()
        if time.perf_counter() > end:
            break
    sys.stdout.write(f"{judged} files\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]))
