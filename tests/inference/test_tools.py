"""What a command may ask of a tool, and the sentence where it asks too much."""

from __future__ import annotations

from typing import Any

import pytest

from bot.errors import RequestError, UnsupportedQuantization
from bot.inference.tools import FAMILIES, MAX_PROMPT, SIZES, TOOLS, text_to_image
from bot.inference.types import Request

FLUX, TINY = FAMILIES["flux"], FAMILIES["tiny"]


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


def test_a_family_offers_only_the_models_that_it_has() -> None:
    assert set(FLUX.tools()) == set(TOOLS)
    assert set(TINY.tools()) == {"schnell", "dev"}
    with pytest.raises(RequestError, match="There is no model `krea` here"):
        text_to_image(TINY, model="krea", prompt="a cat", seed=1)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_multiples_of_16_near_one_megapixel_and_an_eighth_of_that_when_tiny(
    size: str,
) -> None:
    width, height = FLUX.pixels(size)
    assert width % 16 == height % 16 == 0
    assert size == "small square" or 0.9 < width * height / 2**20 < 1.1
    tiny_width, tiny_height = TINY.pixels(size)
    assert tiny_width % 16 == tiny_height % 16 == 0
    assert 0 <= width / 8 - tiny_width < 16
    assert 0 <= height / 8 - tiny_height < 16


def test_every_size_stays_another_size_when_tiny() -> None:
    assert len({TINY.pixels(size) for size in SIZES}) == len(SIZES)


def test_hub_and_folder_are_named_the_same_way() -> None:
    assert FLUX.location("black-forest-labs/FLUX.1-dev") == "black-forest-labs/FLUX.1-dev"
    assert TINY.location("black-forest-labs/FLUX.1-dev").endswith("tiny/FLUX.1-dev")
