"""What anybody's picture says of itself."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from bot.errors import UnusableImage
from bot.inference.metadata import describe, with_metadata
from bot.picture_facts import MOST, read_facts
from tests.cogs.messages import photo
from tests.hostile import HOSTILE
from tests.records import REQUEST


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_size_and_format_are_those_of_the_file(kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (96, 64)).save(buffer, kind)
    facts = read_facts(buffer.getvalue(), name="image")
    assert (facts.size, facts.format, dict(facts.parameters)) == ((96, 64), kind, {})


def test_our_own_pictures_tell_how_they_were_made() -> None:
    made_with = {"model": "black-forest-labs/FLUX.1-schnell", "bot": "1"}
    content = with_metadata(Image.new("RGB", (96, 64)), describe(REQUEST, {}, made_with))
    found = read_facts(content, name="image").parameters
    assert (found["tool"], found["prompt"], found["seed"]) == ("schnell", "a cat", 7)
    assert len(found) <= MOST


def test_what_is_no_picture_is_named_in_one_sentence() -> None:
    with pytest.raises(UnusableImage, match="`picture 1`"):
        read_facts(b"no picture", name="picture 1")


def test_a_picture_says_nothing_by_default() -> None:
    assert not read_facts(photo()[1], name="image").parameters


@pytest.mark.parametrize("name", list(HOSTILE))
def test_no_hostile_file_does_more_than_be_refused(name: str) -> None:
    try:
        facts = read_facts(HOSTILE[name].data, name="image")
    except UnusableImage:
        return
    assert facts.size > (0, 0)
