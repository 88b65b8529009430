"""The built-in CLIPSeg finds what words name in scenes that it was never trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bot.errors import ModelUnavailable, RequestError
from bot.inference.engine import Engine
from bot.inference.protocol import WorkerOptions
from bot.inference.repositories import Repositories
from bot.inference.segmentation import Segmenter, build_segmenter
from bot.inference.tools import FAMILIES, SEGMENTER_REPO
from tools.train_tiny.exam_words import find, fresh_scenes, overlap, words_exam

from .test_tiny_family import draw

SCENES = 60
SEED = 808

TINY = FAMILIES["tiny"]
FOLDER = Path(TINY.location(SEGMENTER_REPO))


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """The built-in one."""
    return build_segmenter(WorkerOptions(family="tiny"))


def circle_and_square(size: tuple[int, int] = (128, 128)) -> tuple[Image.Image, np.ndarray]:
    """Return a red circle beside a yellow square on blue, and where the circle is."""
    image, truth = Image.new("RGB", size, (40, 75, 215)), Image.new("L", size)
    (width, height), radius = size, min(size) // 5
    x, y = width // 3, height // 2
    circle = (x - radius, y - radius, x + radius, y + radius)
    ImageDraw.Draw(image).ellipse(circle, fill=(215, 35, 40))
    ImageDraw.Draw(truth).ellipse(circle, fill=255)
    square = (width * 3 // 4 - radius, y - radius, width * 3 // 4 + radius, y + radius)
    ImageDraw.Draw(image).rectangle(square, fill=(250, 225, 45))
    return image, np.asarray(truth) > 0


def test_words_find_the_named_object_and_not_what_is_absent(segmenter: Segmenter) -> None:
    marks = words_exam(segmenter, fresh_scenes(SCENES, SEED))
    assert marks.found >= 0.95
    assert marks.overlap >= 0.9
    assert marks.refused >= 0.95
    assert marks.refused_unknown >= 0.95


@pytest.mark.parametrize(
    "words", ["the red circle", "a circle", "Red circle", "red", "disc", "the ball", "the red one"]
)
def test_people_may_put_it_in_other_words(segmenter: Segmenter, words: str) -> None:
    image, truth = circle_and_square()
    assert overlap(find(segmenter, image, words), truth) >= 0.8


@pytest.mark.parametrize("size", [(192, 128), (128, 224), (640, 480), (1024, 1024)])
def test_the_mask_has_the_size_of_the_picture_whatever_that_is(
    segmenter: Segmenter, size: tuple[int, int]
) -> None:
    image, truth = circle_and_square(size)
    mask = segmenter.find(image, "the red circle")
    assert (mask.mode, mask.size) == ("L", size)
    assert set(np.unique(np.asarray(mask))) == {0, 255}
    assert overlap(np.asarray(mask) > 0, truth) >= 0.8


def test_of_two_of_a_kind_both_are_found_and_by_their_colour_one(segmenter: Segmenter) -> None:
    image, truth = circle_and_square()
    both = Image.fromarray(np.asarray(image))
    ImageDraw.Draw(both).rectangle((64, 0, 127, 127), fill=(40, 75, 215))
    ImageDraw.Draw(both).ellipse((75, 40, 119, 84), fill=(45, 165, 65))
    green = find(segmenter, both, "the green circle")
    assert green is not None
    assert overlap(find(segmenter, both, "the red circle"), truth) >= 0.8
    for words in ("circle", "the circles", "both circles"):
        assert overlap(find(segmenter, both, words), truth | green) >= 0.8


@pytest.mark.parametrize(("colour", "ground"), [("red", "blue"), ("yellow", "black")])
@pytest.mark.parametrize("box", [(31, 34, 97, 95), (19, 20, 110, 109), (50, 60, 80, 90)])
def test_flat_drawings_in_pure_colours_are_understood_too(
    segmenter: Segmenter, colour: str, ground: str, box: tuple[int, int, int, int]
) -> None:
    image, truth = Image.new("RGB", (128, 128), ground), Image.new("L", (128, 128))
    image.paste(colour, box)
    truth.paste(255, box)
    found = find(segmenter, image, f"the {colour} square")
    assert overlap(found, np.asarray(truth) > 0) >= 0.8


def test_the_background_is_all_but_the_objects(segmenter: Segmenter) -> None:
    image, _ = circle_and_square()
    ground = np.asarray(image) == (40, 75, 215)
    assert overlap(find(segmenter, image, "the background"), ground.all(axis=2)) >= 0.9


def test_what_was_painted_is_found_again(segmenter: Segmenter, engine: Engine) -> None:
    image = draw(engine, prompt="a large red circle on a blue background", seed=7)
    red = np.asarray(image).astype(int)
    truth = red[..., 0] - red[..., 2] > 60
    assert overlap(find(segmenter, image, "the red circle"), truth) >= 0.8
    assert find(segmenter, image, "the yellow star") is None


def test_a_transparent_picture_is_looked_at_on_white(segmenter: Segmenter) -> None:
    image, truth = circle_and_square()
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(truth, 255, 0).astype(np.uint8)))
    assert overlap(find(segmenter, clear, "the red circle"), truth) >= 0.8


def test_what_is_not_found_is_one_sentence_with_another_way(segmenter: Segmenter) -> None:
    image, _ = circle_and_square()
    with pytest.raises(RequestError) as caught:
        segmenter.find(image, "the `green` hat")
    assert str(caught.value) == (
        "`the 'green' hat` could not be found in the picture."
        " Try another word for it, or name a part such as `left half`."
    )


@pytest.mark.parametrize("words", ["🐈" * 60, "ż " * 50, "the " * 25, ".", "a"])
def test_no_words_are_too_strange_to_be_looked_for(segmenter: Segmenter, words: str) -> None:
    image, _ = circle_and_square()
    assert segmenter.logits(image, words).shape == (64, 64)


def test_the_model_stays_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 3 * 10**6


def of_folder(folder: Path) -> Segmenter:
    """Return a segmenter from a folder, as a repository of the hub would be."""
    return Segmenter(str(folder), Repositories(family=FAMILIES["flux"], token=None))


def test_a_model_that_is_out_of_reach_is_a_sentence() -> None:
    segmenter = build_segmenter(WorkerOptions(family="flux", segmenter="me/mine"))
    with pytest.raises(ModelUnavailable, match=r"^The model me/mine could not be loaded: "):
        segmenter.load()


def test_a_model_without_a_trained_decoder_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(FOLDER, tmp_path / "clip")
    weights = load_file(folder / "model.safetensors")
    only_clip = {name: each for name, each in weights.items() if name.startswith("clip.")}
    save_file(only_clip, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelUnavailable, match="it is no CLIPSeg model"):
        of_folder(folder).load()


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"reduce_dim": 8}))
    with pytest.raises(ModelUnavailable):
        of_folder(folder).load()


def test_the_built_in_family_has_its_own_whatever_the_setting_says() -> None:
    build_segmenter(WorkerOptions(family="tiny", segmenter="me/mine")).load()
