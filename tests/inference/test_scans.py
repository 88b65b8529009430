"""A JPEG that would have its pixels gone over for hours is known before a decoder sees it."""

from __future__ import annotations

import pytest
from PIL import Image

from bot.errors import UnusableImage
from bot.inference.images import open_image
from bot.inference.scans import MOST_SCANS, MOST_STEPS, is_endless
from tests.hostile import encode, scene
from tests.hostile_files import many_scans

PROGRESSIVE = encode(scene(), "JPEG", progressive=True)
START_OF_SCAN = b"\xff\xda"
OWN = PROGRESSIVE.count(START_OF_SCAN)


def inserted(content: bytes) -> bytes:
    """Return a JPEG with something between its beginning and its first segment."""
    return PROGRESSIVE[:2] + content + PROGRESSIVE[2:]


def test_more_scans_than_any_encoder_writes_are_refused_in_a_sentence() -> None:
    at_most = many_scans(PROGRESSIVE, MOST_SCANS - OWN)
    assert open_image(at_most).size == scene().size
    with pytest.raises(UnusableImage, match="`image` is damaged"):
        open_image(many_scans(PROGRESSIVE, MOST_SCANS - OWN + 1))


@pytest.mark.parametrize("hidden_in", [0xE1, 0xFE, 0xDB])
def test_an_end_that_is_none_hides_no_scans(hidden_in: int) -> None:
    segment = bytes((0xFF, hidden_in)) + (6).to_bytes(2, "big") + b"\xff\xd9\xff\xd9"
    scans = many_scans(PROGRESSIVE, MOST_SCANS)
    last = scans.rindex(START_OF_SCAN)
    assert is_endless(scans[:2] + segment + scans[2:])
    first = scans.index(START_OF_SCAN)
    second = scans.index(b"\xff\xc4", first)
    assert is_endless(scans[:second] + segment + scans[second:])
    assert not is_endless(PROGRESSIVE[:2] + segment + PROGRESSIVE[2:])
    assert is_endless(scans[:last] + b"\xff\xff" + scans[last:])


def test_what_only_looks_like_scans_does_not_count() -> None:
    looks = START_OF_SCAN * 200
    segment = b"\xff\xe1" + (len(looks) + 2).to_bytes(2, "big") + looks
    assert open_image(inserted(segment)).size == scene().size
    film = PROGRESSIVE + b"ftypmp42" + looks  # as telephones put behind a photo
    assert open_image(film).size == scene().size


def test_restarts_are_no_segments() -> None:
    photo = Image.effect_noise((900, 900), 60)
    restarts = encode(photo, "JPEG", restart_marker_blocks=1)
    assert restarts.count(b"\xff\xd3") > 1000
    assert open_image(restarts).size == photo.size


@pytest.mark.parametrize("content", [b"\0", b"\xff", b"\xff\x00", b"\xff\xe5\0\2"])
def test_what_pillow_would_walk_for_a_minute_is_refused(content: bytes) -> None:
    assert is_endless(inserted(content * (MOST_STEPS + 1)))
    assert not is_endless(inserted(content * (MOST_STEPS // 4)))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "AVIF", "BMP"])
def test_other_files_have_none(kind: str) -> None:
    assert not is_endless(encode(scene(), kind) + START_OF_SCAN * 200)


@pytest.mark.parametrize("length", range(0, len(PROGRESSIVE), 37))
def test_what_is_cut_off_comes_to_an_end(length: int) -> None:
    assert not is_endless(PROGRESSIVE[:length])
