"""The training sets: captioned scenes, described by parallel processes and drawn on the fly."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .captions import caption_scene
from .edits import sample_edit
from .scenes import ROW_WIDTH, Scene, encode_scene, sample_scene
from .tokenization import CaptionEncoder

EDITED_SHARE = 0.05
"""Scenes captioned by an edit instruction, so that the text encoders learn those words as well."""
CHUNK = 5_000
NO_SCENE = (-1.0,) * ROW_WIDTH

Lesson = tuple[tuple[Scene | None, ...], tuple[str, ...]]
"""One example: the scene to paint, then those that it is made from, and the words that ask for it.

All lessons of a tool have equally many scenes, None where one is missing, and wordings.
"""


@dataclass(frozen=True, kw_only=True)
class CaptionedScenes:
    """N lessons: `rows` (N, scenes, ROW_WIDTH) for the renderer, ids (N, wordings, 32) of words."""

    rows: Tensor
    clip_ids: Tensor
    t5_ids: Tensor

    def __len__(self) -> int:
        return self.rows.shape[0]

    def to(self, device: torch.device) -> "CaptionedScenes":
        """The same scenes on another device."""
        return CaptionedScenes(**{name: value.to(device) for name, value in self._items()})

    def save(self, path: Path) -> None:
        """Write the scenes for later stages."""
        torch.save(dict(self._items()), path)

    @classmethod
    def load(cls, path: Path) -> "CaptionedScenes":
        """Read what `save` wrote."""
        return cls(**torch.load(path))

    def _items(self) -> Iterator[tuple[str, Tensor]]:
        return ((field.name, getattr(self, field.name)) for field in fields(self))


def describe_scenes(
    sample: Callable[[Random], Lesson], count: int, seed: int, tokenizers: Path
) -> CaptionedScenes:
    """Sample and caption scenes in as many processes as there are processors."""
    sizes = [CHUNK] * (count // CHUNK) + [count % CHUNK] * (count % CHUNK > 0)
    seeds = (seed * 1_000_000 + index for index in range(len(sizes)))
    with ProcessPoolExecutor() as pool:
        chunks = list(pool.map(partial(_describe_chunk, sample, tokenizers), sizes, seeds))
    rows, clip_ids, t5_ids = (
        torch.from_numpy(np.concatenate(parts)) for parts in zip(*chunks, strict=True)
    )
    return CaptionedScenes(rows=rows, clip_ids=clip_ids, t5_ids=t5_ids)


def sample_captioned_scene(rng: Random) -> Lesson:
    """A scene and two captions of it."""
    if rng.random() >= EDITED_SHARE:
        scene = sample_scene(rng)
        return (scene,), (caption_scene(scene, rng), caption_scene(scene, rng))
    edit = sample_edit(rng)
    source = caption_scene(edit.source, rng).rstrip(".")
    return (edit.target,), (f"{source}, {edit.instruction}", edit.instruction)


def _describe_chunk(
    sample: Callable[[Random], Lesson], tokenizers: Path, count: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int16], NDArray[np.int16]]:
    encode, rng = CaptionEncoder(tokenizers), Random(seed)
    scenes, captions = zip(*(sample(rng) for _ in range(count)), strict=True)
    rows = [[encode_scene(s) if s is not None else NO_SCENE for s in some] for some in scenes]
    t5_ids, clip_ids = encode([wording for wordings in captions for wording in wordings])
    shape = (count, len(captions[0]), -1)
    return np.array(rows, np.float32), clip_ids.reshape(shape), t5_ids.reshape(shape)
