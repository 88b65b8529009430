"""The tools as data: the models, their families and the sizes they paint at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.errors import RequestError
from bot.inference.requests import fill, text_to_image
from bot.inference.tools import FAMILIES, SIZES, TOOLS, Span

FLUX, TINY = FAMILIES["flux"], FAMILIES["tiny"]


def test_a_family_offers_only_the_models_that_it_has() -> None:
    assert set(FLUX.tools()) == set(TOOLS)
    assert set(TINY.tools()) == set(TOOLS) - {"krea"}
    with pytest.raises(RequestError, match="There is no model `krea` here"):
        text_to_image(TINY, model="krea", prompt="a cat", seed=1)


def test_a_family_offers_the_ranges_and_defaults_of_its_catalogue() -> None:
    fewer = replace(TOOLS["dev"], steps=Span(1, 20, 12), guidance=Span(1.0, 5.0, 2.0))
    family = replace(FLUX, catalogue={**TOOLS, "dev": fewer})
    options = {"model": "dev", "prompt": "a cat", "seed": 1}
    request = text_to_image(family, **options)
    assert (request.num_inference_steps, request.guidance_scale) == (12, 2.0)
    with pytest.raises(RequestError, match="`steps` is 21, but it goes from 1 to 20 here"):
        text_to_image(family, **options, steps=21)
    assert text_to_image(FLUX, **options).num_inference_steps == 28
    assert list(family.tools("generate")) == list(FLUX.tools("generate"))


def test_a_family_has_none_but_the_tools_of_its_catalogue() -> None:
    family = replace(TINY, catalogue={"schnell": TOOLS["schnell"], "krea": TOOLS["krea"]})
    assert set(family.tools()) == {"schnell"}
    with pytest.raises(RequestError, match="The `tiny` models have no fill"):
        fill(family, image=b"any", prompt="a cat", seed=1)


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
