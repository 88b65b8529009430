"""An area in the members' words becomes a box, or a sentence."""

from __future__ import annotations

import pytest

from bot.errors import RequestError
from bot.inference.regions import AREAS, MAX_WORDS, Area, Box, are_words, check_words, parse_area


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((name, name) for name in AREAS),
        ("left", "left half"),
        ("RIGHT", "right half"),
        (" Top ", "top half"),
        ("bottom", "bottom half"),
        ("Center", "centre"),
        ("middle", "centre"),
        ("left  half", "left half"),
    ],
)
def test_names_are_taken_as_people_write_them(text: str, name: str) -> None:
    assert parse_area(text) == AREAS[name]


def test_the_border_is_everything_but_the_centre() -> None:
    assert parse_area("border") == Area(parse_area("centre").box, around=True)


@pytest.mark.parametrize("halves", [("left", "right"), ("top", "bottom")])
@pytest.mark.parametrize("size", [(1024, 768), (1023, 767), (1, 1), (3, 5)])
def test_two_halves_leave_no_pixel_out(halves: tuple[str, str], size: tuple[int, int]) -> None:
    covered = set[tuple[int, int]]()
    for name in halves:
        left, upper, right, lower = parse_area(name).box.pixels(size)
        covered |= {(x, y) for x in range(left, right) for y in range(upper, lower)}
    assert len(covered) == size[0] * size[1]


@pytest.mark.parametrize(
    "text",
    [
        *("10 20 50 30", "10,20,50,30", "10, 20, 50, 30", " 10% 20% 50% 30% "),
        *("10 %, 20 %, 50 %, 30 %", "10;20;50;30", "10.0 20.0 50.00 30"),
    ],
)
def test_four_numbers_are_percent_of_the_picture(text: str) -> None:
    assert parse_area(text) == Area(Box(0.1, 0.2, 0.5, 0.3))
    assert parse_area(text).box.pixels((1000, 500)) == (100, 100, 600, 250)


def test_the_whole_picture_is_an_area() -> None:
    assert parse_area("0 0 100 100").box.pixels((640, 480)) == (0, 0, 640, 480)


def test_a_box_is_at_least_one_pixel() -> None:
    assert parse_area("99.99 99.99 0.01 0.01").box.pixels((64, 64)) == (63, 63, 64, 64)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        *((text, "neither a name nor four numbers") for text in ("", "1 2 3", "a b c d")),
        *(
            (text, "neither a name nor four numbers")
            for text in ("1 2 3 4 5", "nan 0 1 1", "1 2 3 4x")
        ),
        *(
            (text, "neither a name nor four numbers")
            for text in ("10203040", "1,5,2 3 4 5", "٣ ٣ ٣ ٣")
        ),
        ("9" * 4000, "neither a name nor four numbers"),
        ("10 10 0 20", "`area` is empty."),
        ("10 10 20 0", "`area` is empty."),
        ("10 10 -5 20", "`area` is empty."),
        ("-1 0 50 50", "reaches out of the picture"),
        ("60 0 50 50", "reaches out of the picture"),
        ("0 200 10 10", "reaches out of the picture"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence) as caught:
        parse_area(text)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "text",
    ["the hat", "hat", "left hand", "le chapeau", "the number 10", "2 dogs", "帽子", "a b c d"],
)
def test_what_is_no_name_and_not_numbers_is_to_be_found_in_the_picture(text: str) -> None:
    assert are_words(text)


@pytest.mark.parametrize(
    "text",
    [
        *AREAS,
        *("LEFT", " middle ", "10 20 50 30", "10% 20% 50% 30%", "1 2 3", "1 2 3 4x", "x1 y2 w3 h4"),
        *("nan 0 1 1", "10203040", "", " ", "?", "٣ ٣ ٣ ٣", "-1 0 50 50"),
    ],
)
def test_names_and_what_looks_like_numbers_are_no_words(text: str) -> None:
    assert not are_words(text)


def test_words_are_few() -> None:
    assert check_words("  the   red hat ") == "the red hat"
    assert check_words("x" * MAX_WORDS) == "x" * MAX_WORDS
    with pytest.raises(RequestError) as caught:
        check_words("x" * (MAX_WORDS + 1))
    assert str(caught.value) == (
        "The words for what is repainted have 101 characters, but at most 100 are read."
        " Name it more briefly, as `the red hat`."
    )
