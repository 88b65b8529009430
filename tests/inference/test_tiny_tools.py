"""The built-in Fill, Kontext, Depth, Canny and Redux do what they are for: fresh scenes and seeds.

A smaller part of `python -m tools.train_tiny evaluate`, which prints the whole table, asked
through the bot's own engine, at 8 bits.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from bot.inference import requests
from bot.inference.engine import Engine
from bot.inference.similarity import ssim
from bot.inference.tools import FAMILIES
from bot.inference.types import Region, Request
from tools.train_tiny.exam import draw_picture, mark_all, to_tensor
from tools.train_tiny.exam_control import ControlQuestion, canny_exam, depth_exam
from tools.train_tiny.exam_fill import FillQuestion, fill_exam
from tools.train_tiny.exam_kontext import KontextQuestion, kontext_exam
from tools.train_tiny.exam_redux import ReduxQuestion, redux_questions
from tools.train_tiny.scenes import Item, Scene
from tools.train_tiny.scoring import nearest_colour

from .conftest import CPU, make_pipelines
from .test_conditions import png

TINY = FAMILIES["tiny"]
assert TINY.folder is not None
TINY_FOLDER = Path(TINY.folder)
STEPS = 6
"""Fewer than by default, and as good for these scenes."""
SEED = 50_000


@pytest.fixture(scope="module")
def engine() -> Engine:
    """One engine for all pictures of this module."""
    return Engine(make_pipelines(), CPU)


def paint(engine: Engine, request: Request) -> Image.Image:
    (content,) = engine.run(request).images
    return Image.open(io.BytesIO(content)).convert("RGB")


def paint_all(
    engine: Engine, questions: Sequence[Any], ask: Callable[..., Request], **options: Any
) -> list[Image.Image]:
    """Return the answers to an exam, each from its own seed."""
    return [
        paint(engine, ask(question, **{"seed": SEED + n, "steps": STEPS} | options))
        for n, question in enumerate(questions)
    ]


def ask_fill(question: FillQuestion, **options: Any) -> Request:
    images = {"image": png(question.picture), "mask": png(question.hole)}
    return requests.fill(TINY, **images, prompt=question.prompt or "a picture", **options)


def ask_kontext(question: KontextQuestion, **options: Any) -> Request:
    return requests.kontext(TINY, image=png(question.picture), prompt=question.prompt, **options)


def ask_control(tool: str, question: ControlQuestion, **options: Any) -> Request:
    """The image has the shapes of the prompt in other colours."""
    image = png(draw_picture(question.scene))
    ask: Callable[..., Request] = getattr(requests, tool)
    return ask(TINY, image=image, prompt=question.prompt, **options)


def ask_redux(question: ReduxQuestion, **options: Any) -> Request:
    names = ("image", "image2")
    images = {
        name: png(draw_picture(scene)) for name, scene in zip(names, question.scenes, strict=False)
    }
    return requests.redux(TINY, images=images, **options)


def test_fill_paints_what_is_named_into_the_mask_and_nothing_beside_it(engine: Engine) -> None:
    questions = [q for q in fill_exam(28, SEED).questions if isinstance(q, FillQuestion)]
    questions = [question for question in questions if question.kind != "outpaint"]
    pictures = paint_all(engine, questions, ask_fill)
    for question, picture in zip(questions, pictures, strict=True):
        kept = Image.composite(question.picture, picture, question.hole)
        assert ImageChops.difference(kept, question.picture).getbbox() is None
    marks = mark_all(questions, pictures)
    assert (marks["hole: colour"] + marks["area: colour"]) / 2 >= 0.9
    assert (marks["hole: shape"] + marks["area: shape"]) / 2 >= 0.9
    assert marks["remove: gone"] == 1


def test_fill_goes_on_with_the_background_where_the_image_grows(engine: Engine) -> None:
    continued = []
    for n, background in enumerate(("blue", "yellow", "white", "green", "pink", "brown")):
        colour = "red" if background != "pink" else "black"
        item = Item(shape="star", colour=colour, radius=30)
        image = draw_picture(Scene(background=background, items=(item,)))
        region = Region(left=50, right=50)
        request = requests.fill(
            TINY, image=png(image), prompt="more of it", region=region, seed=SEED + n, steps=STEPS
        )
        picture = paint(engine, request)
        assert picture.size == (256, 128)
        original = picture.crop((64, 0, 192, 128))
        assert ImageChops.difference(original, image).getbbox() is None
        border = np.asarray(picture, float)[:, [0, 16, 32, -33, -17, -1]] / 255
        continued.append(nearest_colour(np.median(border.reshape(-1, 3), axis=0)) == background)
    assert np.mean(continued) >= 0.9


def test_kontext_does_the_edit_and_leaves_the_rest(engine: Engine) -> None:
    questions = kontext_exam(14, SEED).questions
    marks = mark_all(questions, paint_all(engine, questions, ask_kontext))
    assert marks["both"] >= 0.85
    assert marks["kept"] >= 0.9


def test_canny_follows_the_edges_and_depth_the_distances_in_the_prompts_colours(
    engine: Engine,
) -> None:
    exams = {"canny": canny_exam(6, SEED), "depth": depth_exam(4, SEED, TINY_FOLDER)}
    agreement = {"canny": "edge F1", "depth": "rank correlation"}
    for tool, exam in exams.items():
        pictures = paint_all(engine, exam.questions, partial(ask_control, tool))
        marks = mark_all(exam.questions, pictures)
        assert marks[agreement[tool]] >= 0.7
        assert marks["object"] >= 0.9
        assert marks["background"] >= 0.9


def test_redux_varies_an_image_in_its_own_colours_and_blends_two(engine: Engine) -> None:
    questions = [q for q in redux_questions(24, SEED) if q.kind in ("variation", "blend")]
    pictures = paint_all(engine, questions, ask_redux)
    marks = mark_all(questions, pictures)
    assert marks["variation: colours"] >= 0.85
    assert marks["blend: something of each"] >= 0.5
    others = [
        paint(engine, ask_redux(question, seed=n, steps=STEPS))
        for n, question in enumerate(questions[:4])
    ]
    differences = (to_tensor(others) - to_tensor(pictures[:4])).abs().mean((1, 2, 3))
    assert differences.min() > 0.005


@pytest.mark.parametrize("tool", ["fill", "kontext", "canny", "depth", "redux"])
def test_eight_bits_give_nearly_the_picture_of_full_precision(engine: Engine, tool: str) -> None:
    exams: dict[str, tuple[Sequence[Any], Callable[..., Request]]] = {
        "fill": (fill_exam(4, SEED).questions, ask_fill),
        "kontext": (kontext_exam(4, SEED).questions, ask_kontext),
        "canny": (canny_exam(4, SEED).questions, partial(ask_control, "canny")),
        "depth": (depth_exam(4, SEED, TINY_FOLDER).questions, partial(ask_control, "depth")),
        "redux": (redux_questions(4, SEED), ask_redux),
    }
    questions, ask = exams[tool]
    eight, full = (
        to_tensor(paint_all(engine, questions, ask, quantization=quantization))
        for quantization in ("8-bit", "None")
    )
    assert np.median(ssim(eight.numpy(), full.numpy())) >= 0.95
    light, true_light = eight.mean((1, 2, 3)), full.mean((1, 2, 3))
    assert ((light - true_light).abs() / true_light).median() <= 0.01
