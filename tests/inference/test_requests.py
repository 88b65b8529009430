"""What a command may ask of a tool, and the sentence where it asks too much."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bot.errors import RequestError, UnsupportedQuantization
from bot.inference import requests
from bot.inference.requests import MAX_PROMPT, text_to_image
from bot.inference.tools import FAMILIES
from bot.inference.types import Region, Request

FLUX = FAMILIES["flux"]


def ask(**options: Any) -> Request:
    return text_to_image(FLUX, **({"model": "dev", "prompt": "a cat", "seed": 1} | options))


@pytest.mark.parametrize(
    ("model", "steps", "guidance"), [("schnell", 4, None), ("dev", 28, 3.5), ("krea", 28, 4.5)]
)
def test_what_is_left_out_gets_the_default_of_the_model(
    model: str, steps: int, guidance: float | None
) -> None:
    request = ask(model=model)
    assert (request.num_inference_steps, request.guidance_scale) == (steps, guidance)
    assert (request.width, request.height, request.count) == (1024, 1024, 1)
    assert request.quantization == "8-bit"


def test_values_inside_the_ranges_are_taken_as_they_are() -> None:
    request = ask(steps=50, guidance=0.0, seed=2**32 - 1, count=4, size="tall", quantization="None")
    assert (request.num_inference_steps, request.guidance_scale, request.seed) == (
        50,
        0.0,
        2**32 - 1,
    )
    assert (request.count, request.width, request.height) == (4, 768, 1344)
    assert request.quantization == "None"


def test_each_picture_has_a_seed_of_its_own() -> None:
    assert ask(seed=2**32 - 2, count=3).seeds == (2**32 - 2, 2**32 - 1, 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prompt": ""}, "The prompt is empty."),
        ({"prompt": " \n "}, "The prompt is empty."),
        ({"prompt": "x" * (MAX_PROMPT + 1)}, f"The prompt has {MAX_PROMPT + 1} characters"),
        ({"steps": 0}, "`steps` is 0, but it goes from 1 to 50 here."),
        ({"steps": 51}, "`steps` is 51"),
        ({"model": "schnell", "steps": 13}, "`steps` is 13, but it goes from 1 to 12 here."),
        ({"guidance": 10.5}, "`guidance` is 10.5, but it goes from 0 to 10 here."),
        ({"guidance": float("nan")}, "`guidance` is nan"),
        ({"model": "schnell", "guidance": 3.5}, "FLUX.1 schnell is distilled and takes no"),
        ({"seed": -1}, "`seed` is -1"),
        ({"seed": 2**32}, "`seed` is 4294967296, but it goes from 0 to 4294967295 here."),
        ({"count": 0}, "`count` is 0, but it goes from 1 to 4 here."),
        ({"count": 5}, "`count` is 5"),
        ({"size": "huge"}, "There is no size `huge`."),
        ({"model": "pro"}, "There is no model `pro` here. Choose one of schnell, dev, krea."),
    ],
)
def test_what_is_out_of_range_is_refused_with_a_sentence(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError) as caught:
        ask(**options)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("value", ["4-bit", "2-bit", "16-bit", "", "none"])
def test_any_other_quantization_is_refused_with_the_advice_to_use_8_bit(value: str) -> None:
    with pytest.raises(UnsupportedQuantization, match="Use `8-bit`, or `None`"):
        ask(quantization=value)


PHOTO = b"a photo"

COMMANDS: dict[str, Callable[..., Request]] = {
    "fill": lambda **options: requests.fill(
        FLUX, **{"image": PHOTO, "prompt": "a hat", "seed": 1} | options
    ),
    "kontext": lambda **options: requests.kontext(
        FLUX, **{"image": PHOTO, "prompt": "add a hat", "seed": 1} | options
    ),
    "depth": lambda **options: requests.depth(
        FLUX, **{"image": PHOTO, "prompt": "a castle", "seed": 1} | options
    ),
    "canny": lambda **options: requests.canny(
        FLUX, **{"image": PHOTO, "prompt": "a castle", "seed": 1} | options
    ),
    "redux": lambda **options: requests.redux(
        FLUX, **{"images": {"image": PHOTO}, "seed": 1} | options
    ),
}


@pytest.mark.parametrize(
    ("command", "steps", "guidance"),
    [
        ("fill", 30, 30.0),
        ("kontext", 28, 2.5),
        ("depth", 30, 10.0),
        ("canny", 30, 30.0),
        ("redux", 28, 2.5),
    ],
)
def test_the_tools_for_images_have_the_defaults_of_the_contract(
    command: str, steps: int, guidance: float
) -> None:
    request = COMMANDS[command]()
    assert (request.tool, request.images) == (command, {"image": PHOTO})
    assert (request.num_inference_steps, request.guidance_scale) == (steps, guidance)
    assert (request.width, request.height) == (None, None)


def test_own_options_are_taken_as_they_are() -> None:
    region = Region(area="centre", left=100)
    fill = COMMANDS["fill"](mask=b"a mask", region=region)
    assert fill.images == {"image": PHOTO, "mask": b"a mask"}
    assert fill.region == region
    kontext = COMMANDS["kontext"](size="wide")
    assert (kontext.width, kontext.height) == (1344, 768)
    canny = COMMANDS["canny"](low=1, high=2)
    assert (canny.low, canny.high) == (1, 2)
    assert (COMMANDS["canny"]().low, COMMANDS["canny"]().high) == (100, 200)
    redux = COMMANDS["redux"](strength=0.1, prompt=" in winter ")
    assert (redux.strength, redux.prompt) == (0.1, "in winter")
    assert (COMMANDS["redux"]().strength, COMMANDS["redux"]().prompt) == (1.0, "")


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        ("fill", {"prompt": " "}, "The prompt is empty."),
        ("fill", {"region": Region(left=101)}, "`left` is 101, but it goes from 0 to 100 here."),
        ("fill", {"region": Region(area="1 2 3")}, "`area` is neither a name nor four numbers."),
        (
            "fill",
            {"region": Region(area="the hat"), "mask": b"a mask"},
            "`mask` wins over the words in `area`, and nobody would look for them. Leave one",
        ),
        ("fill", {"region": Region(area="hat " * 30)}, "The words for what is repainted have 119"),
        ("fill", {"guidance": 0.5}, "`guidance` is 0.5, but it goes from 1 to 50 here."),
        ("kontext", {"guidance": 11.0}, "`guidance` is 11, but it goes from 1 to 10 here."),
        ("kontext", {"size": "huge"}, "There is no size `huge`."),
        ("canny", {"low": 200}, "`low` is 200 and `high` is 200, but `low` has to be the smaller"),
        ("canny", {"low": 0}, "`low` is 0, but it goes from 1 to 255 here."),
        ("canny", {"high": 256}, "`high` is 256, but it goes from 1 to 255 here."),
        ("redux", {"strength": 0.05}, "`strength` is 0.05, but it goes from 0.1 to 1 here."),
        ("redux", {"prompt": ""}, "The prompt is empty."),
        ("depth", {"count": 5}, "`count` is 5"),
    ],
)
def test_own_options_out_of_range_are_refused_with_a_sentence(
    command: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError) as caught:
        COMMANDS[command](**options)
    assert str(caught.value).startswith(sentence)


def test_an_area_that_is_neither_name_nor_numbers_is_words_with_some_room_around() -> None:
    assert COMMANDS["fill"](region=Region(area=" the  hat", top=5)).region == Region(
        words="the hat", top=5, adjustments=("grow", "feather")
    )


def test_a_region_that_has_words_already_stays_as_it_was_made_of_old() -> None:
    assert COMMANDS["fill"](region=Region(words="the hat")).region == Region(words="the hat")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_request_survives_as_plain_values(command: str) -> None:
    request = COMMANDS[command]()
    again = Request.from_options(json.loads(json.dumps(request.options())))
    assert again == replace(request, images={})


def test_the_options_of_an_earlier_version_are_understood() -> None:
    request = COMMANDS["fill"](region=Region(area="centre"))
    options = request.options()
    for name in ("max_pixels", "classify", "strength"):
        del options[name]
    del options["region"]["adjustments"], options["region"]["words"]
    assert Request.from_options(options) == replace(request, images={})


@pytest.mark.parametrize("options", [{"colour": "red"}, {"region": {"diagonal": 7}}])
def test_options_that_nobody_knows_are_not_passed_over(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Request.from_options(COMMANDS["depth"]().options() | options)


def test_what_a_server_allows_survives_as_plain_values_too() -> None:
    request = replace(COMMANDS["canny"](), max_pixels=512**2, classify=True)
    again = Request.from_options(json.loads(json.dumps(request.options())))
    assert (again.max_pixels, again.classify) == (512**2, True)
