"""The exams of Depth and Canny: the picture has the control's shapes and the prompt's colours."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional
from transformers import AutoImageProcessor, DepthAnythingForDepthEstimation

from .assemble import CANNY, DEPTH, DEPTH_ESTIMATOR
from .captions import plain_caption
from .edges import canny, to_gray
from .exam import Exam, Marks, draw_picture, to_tensor
from .scenes import COLOUR_NAMES, Item, Scene, is_held_out, sample_single
from .scoring import background_colour, object_colour

TOLERANCE = 2
"""Pixels by which an edge may be off."""
FEWEST_EDGES = 60
"""Pixels of a control that says something; a picture of like grays has fewer."""


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """The depth estimator with what prepares its pictures."""

    model: DepthAnythingForDepthEstimation
    processor: Any

    @classmethod
    def load(cls, family: Path) -> "Estimator":
        """Read it from the family's folder."""
        folder = family / DEPTH_ESTIMATOR
        return cls(
            model=DepthAnythingForDepthEstimation.from_pretrained(folder, dtype=torch.float32),
            processor=AutoImageProcessor.from_pretrained(folder),
        )

    @torch.no_grad()
    def __call__(self, picture: Image.Image) -> NDArray[np.uint8]:
        """Depth (H, W) of the picture in 0..255, near is 255."""
        inputs = self.processor(images=picture, return_tensors="pt")
        depth = self.model(pixel_values=inputs["pixel_values"]).predicted_depth[:, None]
        size = (picture.height, picture.width)
        depth = functional.interpolate(depth, size=size, mode="bicubic")[0, 0]
        depth = (depth - depth.min()) / (depth.max() - depth.min()).clamp(min=1e-6)
        levels: NDArray[np.uint8] = (255 * depth).round().byte().numpy()
        return levels


@dataclass(frozen=True, kw_only=True)
class ControlQuestion:
    """The control of a `scene`, and the scene `wanted`: the same shapes in other colours."""

    scene: Scene
    wanted: Scene
    control: NDArray[np.uint8]
    estimator: Estimator | None

    @cached_property
    def prompt(self) -> str:
        return plain_caption(self.wanted)

    @cached_property
    def shown(self) -> Mapping[str, Any]:
        return {"control_image": Image.fromarray(self.control).convert("RGB")}

    def mark(self, picture: Image.Image) -> Marks:
        """How the picture agrees with its control and obeys its prompt."""
        (item,) = self.wanted.items
        return {
            **self._agree(picture, ""),
            "object": object_colour(picture) == item.colour,
            "background": background_colour(picture) == self.wanted.background,
            **self._agree(draw_picture(self.wanted), ", of the true drawing"),
        }

    def _agree(self, picture: Image.Image, suffix: str) -> Marks:
        if self.estimator is not None:
            depth = self.estimator(picture)
            return {f"rank correlation{suffix}": rank_correlation(depth, self.control)}
        return {f"edge F1{suffix}": edge_f1(find_edges(picture), self.control)}


def depth_exam(count: int, seed: int, family: Path) -> Exam:
    """Depth maps of scenes, and prompts for the same shapes in colours never trained on."""
    rng, estimator = Random(seed), Estimator.load(family)
    questions = []
    for _ in range(count):
        scene, wanted = _sample_recoloured(rng)
        control = estimator(draw_picture(scene))
        questions.append(
            ControlQuestion(scene=scene, wanted=wanted, control=control, estimator=estimator)
        )
    return Exam(
        title="Depth", model=DEPTH, questions=questions, steps=30, guidance=10, extremes=(1, 50)
    )


def canny_exam(count: int, seed: int) -> Exam:
    """Edges of scenes, by the command's own thresholds, and prompts as for Depth."""
    rng = Random(seed)
    questions: list[ControlQuestion] = []
    while len(questions) < count:
        scene, wanted = _sample_recoloured(rng)
        control = find_edges(draw_picture(scene))
        if (control > 0).sum() >= FEWEST_EDGES:
            questions.append(
                ControlQuestion(scene=scene, wanted=wanted, control=control, estimator=None)
            )
    return Exam(
        title="Canny", model=CANNY, questions=questions, steps=30, guidance=30, extremes=(1, 50)
    )


def find_edges(picture: Image.Image) -> NDArray[np.uint8]:
    """What cv2.Canny(gray, 100, 200) says, 0 or 255."""
    edges: NDArray[np.uint8] = canny(to_gray(to_tensor([picture])))[0].byte().numpy() * 255
    return edges


def edge_f1(edges: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """The harmonic mean of both sets' parts that lie near the other."""

    def part_near(some: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
        if not some.any():
            return 0.0
        near = functional.max_pool2d(
            torch.from_numpy(others / 255)[None], 2 * TOLERANCE + 1, 1, TOLERANCE
        )[0].numpy()
        return float(near[some > 0].mean())

    precision, recall = part_near(edges, truth), part_near(truth, edges)
    return 2 * precision * recall / max(precision + recall, 1e-9)


def rank_correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Spearman's coefficient of two pictures; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: NDArray[np.uint8]) -> NDArray[np.float64]:
    _, places, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + last - 1) / 2)[places]


def _sample_recoloured(rng: Random) -> tuple[Scene, Scene]:
    """A scene of one object, and the same in other colours."""
    while True:
        scene = sample_single(rng)
        (item,) = scene.items
        colour, background = rng.sample(COLOUR_NAMES, 2)
        if is_held_out(item.shape, colour, background):
            wanted: Item = replace(item, colour=colour)
            return scene, replace(scene, items=(wanted,), background=background)
