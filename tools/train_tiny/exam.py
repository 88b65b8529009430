"""An exam: questions to a model of the family, asked through the real pipeline, and their marks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .drawing import draw
from .scenes import CANVAS, Scene, encode_scene

BATCH_SIZE = 20
PICTURE_SEED = 40_000
PROMPT_LENGTH = 512

Marks = dict[str, float]
"""What a picture achieves, by name: 1 or 0 for what is right or wrong, else a figure."""


class Question(Protocol):
    """What is asked for, what the pipeline is shown with it, and how the answer is marked."""

    prompt: str
    shown: Mapping[str, Any]

    def mark(self, picture: Image.Image) -> Marks: ...


@dataclass(frozen=True, kw_only=True)
class Exam:
    """Questions to one model, with the command's own steps, guidance, and bounds of guidance."""

    title: str
    model: str
    questions: Sequence[Question]
    steps: int
    guidance: float
    extremes: tuple[float, float]
    options: Mapping[str, Any] = field(default_factory=dict)


def answer(exam: Exam, pipeline: Any, seed: int = PICTURE_SEED) -> list[Image.Image]:
    """One picture a question, each from its own seed."""
    pictures: list[Image.Image] = []
    for start in range(0, len(exam.questions), BATCH_SIZE):
        batch = exam.questions[start : start + BATCH_SIZE]
        shown = {name: [question.shown[name] for question in batch] for name in batch[0].shown}
        pictures += pipeline(
            prompt=[question.prompt for question in batch],
            num_inference_steps=exam.steps,
            guidance_scale=exam.guidance,
            max_sequence_length=PROMPT_LENGTH,
            height=CANVAS,
            width=CANVAS,
            generator=generators(seed + start, len(batch)),
            **shown,
            **exam.options,
        ).images
    return pictures


def generators(seed: int, count: int) -> list[torch.Generator]:
    """One for each picture, on the CPU, so that a seed means the same everywhere."""
    return [torch.Generator().manual_seed(seed + number) for number in range(count)]


def mark_all(questions: Sequence[Question], pictures: Sequence[Image.Image]) -> Marks:
    """The mean of each mark over the pictures that have it."""
    marks = [q.mark(picture) for q, picture in zip(questions, pictures, strict=True)]
    names = dict.fromkeys(name for each in marks for name in each)
    return {name: float(np.mean([m[name] for m in marks if name in m])) for name in names}


def draw_picture(scene: Scene, width: int = CANVAS, height: int = CANVAS) -> Image.Image:
    """The true drawing of a scene."""
    rows = torch.tensor([encode_scene(scene)])
    return to_picture(draw(rows, height, width).images[0])


def to_picture(image: Tensor) -> Image.Image:
    """A picture of a tensor (3, H, W) or (1, H, W) in 0..1."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])


def to_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures as a tensor (B, 3, H, W) in 0..1."""
    pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255


def to_pixels(picture: Image.Image) -> NDArray[np.float64]:
    """A picture as an array (H, W, 3) in 0..1."""
    return np.asarray(picture.convert("RGB"), np.float64) / 255
