"""What is asked of the segmenter: phrases for what scenes show, and for what they lack."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from PIL import Image

from bot.errors import RequestError
from bot.inference.segmentation import Segmenter

from .drawing import draw
from .phrases import Phrase, plain_absences, plain_phrases
from .scenes import Scene, encode_scene, sample_pair, sample_single

GOOD = 0.6
"""Intersection over union from which on a part counts as found."""

UNKNOWN = ("the hat", "a dog", "the bicycle", "a wooden table", "her umbrella", "some text")
"""What the segmenter was never shown; a dog it has at least heard of."""


@dataclass(frozen=True, kw_only=True)
class WordMarks:
    """Shares from 0 to 1: of parts found well and their mean overlap, of absent things refused."""

    found: float
    overlap: float
    refused: float
    refused_unknown: float


def fresh_scenes(count: int, seed: int) -> list[Scene]:
    """Scenes of one and of two objects in turn, held-out combinations among them."""
    rng = Random(seed)
    return [(sample_single, sample_pair)[n % 2](rng) for n in range(count)]


def words_exam(segmenter: Segmenter, scenes: Sequence[Scene]) -> WordMarks:
    """Ask for each object by colour and shape and by shape, and for as many absent things."""
    overlaps, absences, unknown = list[float](), list[bool](), list[bool]()
    for number, scene in enumerate(scenes):
        picture, parts = picture_of(scene)
        for phrase in plain_phrases(scene):
            overlaps.append(overlap(find(segmenter, picture, phrase.words), meant(phrase, parts)))
        for phrase in plain_absences(scene):
            absences.append(find(segmenter, picture, phrase.words) is None)
        unknown.append(find(segmenter, picture, UNKNOWN[number % len(UNKNOWN)]) is None)
    return WordMarks(
        found=_share([each >= GOOD for each in overlaps]),
        overlap=_share(overlaps),
        refused=_share(absences),
        refused_unknown=_share(unknown),
    )


def picture_of(scene: Scene) -> tuple[Image.Image, np.ndarray]:
    """A drawn scene, and which part each of its pixels shows."""
    drawing = draw(torch.tensor([encode_scene(scene)]))
    pixels = (drawing.images[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return Image.fromarray(pixels), drawing.objects[0].long().numpy()


def meant(phrase: Phrase, parts: np.ndarray) -> np.ndarray:
    """Where in a picture is what a phrase means."""
    where: np.ndarray = np.array(phrase.meant)[parts]
    return where


def find(segmenter: Segmenter, picture: Image.Image, words: str) -> np.ndarray | None:
    """Where the segmenter finds what words name, None where it finds nothing."""
    try:
        return np.asarray(segmenter.find(picture, words)) > 0
    except RequestError:
        return None


def overlap(found: np.ndarray | None, truth: np.ndarray) -> float:
    """Intersection over union."""
    if found is None:
        return 0.0
    return float((found & truth).sum() / (found | truth).sum())


def _share(marks: Sequence[bool] | Sequence[float]) -> float:
    return sum(marks) / len(marks)
