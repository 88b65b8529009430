"""Redux's exam: variations of a picture, blends of two, at any strength, and with words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .assemble import DEV, load_pipeline, load_prior
from .captions import plain_caption
from .exam import BATCH_SIZE, PROMPT_LENGTH, Marks, draw_picture, to_pixels
from .scenes import CANVAS, Scene, is_held_out, sample_single
from .scoring import background_colour, best_shape, nearest_colour, object_colour, object_mask

STEPS, GUIDANCE = 28, 2.5
SMALLEST_PART = 0.003
"""Part of the picture from which on a spot of colour counts."""


@dataclass(frozen=True, kw_only=True)
class ReduxQuestion:
    """Scenes whose pictures are shown, how strongly, and the scene that words ask for, if any."""

    kind: str
    scenes: Sequence[Scene]
    strength: float = 1.0
    wanted: Scene | None = None

    @property
    def prompt(self) -> str:
        return plain_caption(self.wanted) if self.wanted is not None else ""

    def mark(self, picture: Image.Image) -> Marks:
        """What of the scenes, or of the words, the picture shows."""
        if self.wanted is not None:
            right = _shows_colours(picture, self.wanted)
            return {f"{self.kind}: prompt's colours": right}
        if len(self.scenes) == 1:
            (scene,) = self.scenes
            return {
                f"{self.kind}: colours": _shows_colours(picture, scene),
                f"{self.kind}: shape": best_shape(picture) == scene.items[0].shape,
            }
        shown = _colours_of(picture)
        parts = [{scene.background, scene.items[0].colour} & shown for scene in self.scenes]
        return {f"{self.kind}: something of each": all(parts)}


def redux_questions(count: int, seed: int) -> list[ReduxQuestion]:
    """Half variations, then blends of two, weak variations, and variations with words."""
    rng = Random(seed)
    questions = []
    for index in range(count):
        scene = _sample_held_out(rng)
        colours = {scene.background, scene.items[0].colour}
        other = _sample_held_out(rng)
        while colours & {other.background, other.items[0].colour}:
            other = _sample_held_out(rng)
        questions.append(
            (
                ReduxQuestion(kind="variation", scenes=[scene]),
                ReduxQuestion(kind="blend", scenes=[scene, other]),
                ReduxQuestion(kind="variation", scenes=[scene]),
                ReduxQuestion(kind="strength 0.3", scenes=[scene], strength=0.3),
                ReduxQuestion(kind="variation", scenes=[scene]),
                ReduxQuestion(kind="words at 0.5", scenes=[scene], strength=0.5, wanted=other),
            )[index % 6]
        )
    return questions


class ReduxModels:
    """The prior and dev, asked as the bot asks them."""

    def __init__(self, family: Path, device: torch.device, dtype: torch.dtype) -> None:
        self.prior = load_prior(family, dtype).to(device)
        self.pipeline: Any = load_pipeline(family, DEV, dtype).to(device)

    @property
    def quantized(self) -> tuple[torch.nn.Module, ...]:
        """The modules that 8 bits mean."""
        return (
            self.pipeline.transformer,
            self.pipeline.text_encoder_2,
            self.prior.image_encoder,
            self.prior.image_embedder,
        )

    @torch.no_grad()
    def answer(self, questions: Sequence[ReduxQuestion], seed: int) -> list[Image.Image]:
        """One picture a question, each from its own seed; batches have equally many images."""
        pictures: dict[int, Image.Image] = {}
        for count in {len(question.scenes) for question in questions}:
            places = [n for n, question in enumerate(questions) if len(question.scenes) == count]
            for start in range(0, len(places), BATCH_SIZE):
                batch = places[start : start + BATCH_SIZE]
                parts = [self._embed(questions[place]) for place in batch]
                embeddings, pooled = zip(*parts, strict=True)
                images = self.pipeline(
                    prompt_embeds=torch.cat(embeddings),
                    pooled_prompt_embeds=torch.cat(pooled),
                    num_inference_steps=STEPS,
                    guidance_scale=GUIDANCE,
                    height=CANVAS,
                    width=CANVAS,
                    generator=[torch.Generator().manual_seed(seed + place) for place in batch],
                ).images
                pictures |= zip(batch, images, strict=True)
        return [pictures[place] for place in range(len(questions))]

    def _embed(self, question: ReduxQuestion) -> tuple[Tensor, Tensor]:
        """The words' tokens, or zeros, and behind them each image's times strength."""
        device = self.prior.image_encoder.device
        pictures = [draw_picture(scene) for scene in question.scenes]
        hidden = self.prior.encode_image(pictures, device, 1)
        images = self.prior.image_embedder(hidden).image_embeds
        images = question.strength * images.flatten(0, 1)[None]
        if question.prompt:
            text, pooled, _ = self.pipeline.encode_prompt(
                question.prompt, None, device=device, max_sequence_length=PROMPT_LENGTH
            )
        else:
            width = self.pipeline.transformer.config
            text = images.new_zeros(1, PROMPT_LENGTH, width.joint_attention_dim)
            pooled = images.new_zeros(1, width.pooled_projection_dim)
        return torch.cat((text, images), 1), pooled


def _sample_held_out(rng: Random) -> Scene:
    while True:
        scene = sample_single(rng)
        (item,) = scene.items
        if is_held_out(item.shape, item.colour, scene.background):
            return scene


def _shows_colours(picture: Image.Image, scene: Scene) -> bool:
    is_object_right = object_colour(picture) == scene.items[0].colour
    return is_object_right and background_colour(picture) == scene.background


def _colours_of(picture: Image.Image) -> set[str]:
    """The background's colour, and those of the spots that differ from it."""
    mask, pixels = object_mask(picture), to_pixels(picture)
    colours = {background_colour(picture)}
    while mask.mean() >= SMALLEST_PART:
        spot = _spot_of(mask)
        if spot.mean() >= SMALLEST_PART:
            # Two objects that touch: each half's colour.
            columns = np.nonzero(spot)[1]
            left = spot & (np.arange(spot.shape[1]) <= np.median(columns))
            for part in (spot, left, spot & ~left):
                colours.add(nearest_colour(np.median(pixels[part], axis=0)))
        mask = mask & ~spot
    return colours


def _spot_of(mask: np.ndarray) -> np.ndarray:
    """One connected part of the mask."""
    part = np.zeros_like(mask)
    part.flat[np.flatnonzero(mask)[0]] = True
    while True:
        grown = part.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                grown |= np.roll(part, step, axis)
        grown &= mask
        if (grown == part).all():
            return part
        part = grown
