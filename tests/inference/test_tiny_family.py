"""The built-in models draw what the prompt says: fresh prompts, fresh seeds, at 8 bits.

A faster part of `python -m tools.train_tiny evaluate`, which prints the whole table.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bot.inference import engine as engine_module
from bot.inference.engine import Engine
from bot.inference.similarity import Pixels, ssim
from bot.inference.tools import FAMILIES, SIZES
from tools.train_tiny.evaluate import Score, score, vae_psnr
from tools.train_tiny.prompts import fresh_prompts
from tools.train_tiny.scoring import read_picture

from .conftest import CPU, ask, make_pipelines

FAMILY = FAMILIES["tiny"].folder
assert FAMILY is not None
STEPS = 8
"""Of dev where many pictures are asked for: fewer than by default, and as good for these scenes."""


@pytest.fixture(scope="module")
def engine() -> Engine:
    """One engine for all pictures of this module."""
    return Engine(make_pipelines(), CPU)


def draw(engine: Engine, **options: object) -> Image.Image:
    (content,) = engine.run(ask(**options)).images
    return Image.open(io.BytesIO(content)).convert("RGB")


def score_of(engine: Engine, model: str, count: int, steps: int | None = None) -> Score:
    prompts = fresh_prompts(count, seed=606)
    pictures = [
        draw(engine, model=model, prompt=prompt.text, seed=9000 + n, steps=steps)
        for n, prompt in enumerate(prompts)
    ]
    return score(pictures, prompts)


def test_schnell_gets_colour_and_background_right_in_four_steps(engine: Engine) -> None:
    result = score_of(engine, "schnell", 40)
    assert result.colours >= 0.9
    assert result.shape >= 0.7


def test_dev_gets_colours_and_shape_right(engine: Engine) -> None:
    result = score_of(engine, "dev", 20, STEPS)
    assert result.colours >= 0.95
    assert result.shape >= 0.8


@pytest.mark.parametrize("model", ["schnell", "dev"])
def test_the_readmes_own_prompt_gives_a_red_circle_on_blue(engine: Engine, model: str) -> None:
    reading = read_picture(draw(engine, model=model, seed=7))
    assert (reading.colour, reading.shape, reading.background) == ("red", "circle", "blue")


@pytest.mark.parametrize("size", SIZES)
def test_every_size_shows_what_was_asked_for(engine: Engine, size: str) -> None:
    reading = read_picture(
        draw(engine, prompt="a large yellow star on a purple background", size=size, seed=5)
    )
    assert (reading.colour, reading.background) == ("yellow", "purple")


@pytest.mark.parametrize(
    "prompt",
    [
        "red circle, blue background",
        "A LARGE RED CIRCLE ON BLUE!",
        "please draw a red circle on blue",
    ],
)
def test_people_may_put_it_in_other_words(engine: Engine, prompt: str) -> None:
    reading = read_picture(draw(engine, prompt=prompt, seed=3))
    assert (reading.colour, reading.background) == ("red", "blue")


def test_unknown_words_give_a_picture_all_the_same(engine: Engine) -> None:
    image = draw(engine, prompt="Zażółć gęślą jaźń 🐈 xylophone quantum")
    assert engine_module.luminosity(image) > engine_module.BLACK


def test_eight_bits_give_nearly_the_picture_of_full_precision(engine: Engine) -> None:
    prompts = fresh_prompts(16, seed=707)

    def pixels(quantization: str) -> Pixels:
        pictures = [
            np.asarray(draw(engine, prompt=p.text, seed=n, quantization=quantization))
            for n, p in enumerate(prompts)
        ]
        return np.stack(pictures).transpose(0, 3, 1, 2) / 255

    eight, full = pixels("8-bit"), pixels("None")
    assert np.median(ssim(eight, full)) >= 0.95
    assert abs(eight.mean() - full.mean()) / full.mean() <= 0.01


def test_the_autoencoder_keeps_fresh_scenes() -> None:
    assert vae_psnr(Path(FAMILY)).mean() >= 30.0


def test_the_weights_of_the_family_stay_small() -> None:
    size = sum(file.stat().st_size for file in Path(FAMILY).rglob("*") if file.is_file())
    assert size < 48 * 10**6
