"""What every stage works with: the device, the folder of results, captions, latents, models."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import DepthAnythingForDepthEstimation

from .data import CaptionedScenes, describe_scenes, sample_captioned_scene
from .drawing import draw
from .models import LatentCodec, image_ids
from .scenes import CANVAS
from .text import PromptEncoder, build_text_encoders, make_embeddings_graph_safe
from .tokenization import CaptionEncoder
from .training import timed

SCENE_SEED = 11
DRAWING_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything a run uses."""

    scenes: int = 300_000
    scenes_of_other_sizes: int = 40_000
    vae_pictures: int = 24_000
    trajectories: int = 48_000
    trajectories_of_other_sizes: int = 4_000
    lessons: int = 80_000
    lessons_of_other_sizes: int = 12_000
    batch_divisor: int = 1
    steps: int | None = None


FULL = Scale()
TOY = Scale(
    scenes=300,
    scenes_of_other_sizes=100,
    vae_pictures=64,
    trajectories=16,
    trajectories_of_other_sizes=8,
    lessons=64,
    lessons_of_other_sizes=16,
    batch_divisor=128,
    steps=24,
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One kind of training batch: the picture's size in pixels, text tokens, pictures a batch.

    `share` says how many of a round's steps are of this kind, `compiles` whether there are enough
    of them to make up for compiling. `silence` is the number of zero tokens before the text's.
    """

    name: str
    height: int
    width: int
    text_length: int
    batch_size: int
    share: int
    compiles: bool
    silence: int = 0

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width


@dataclass(frozen=True, kw_only=True)
class Captions:
    """Token ids of a batch of prompts, and which scenes they describe."""

    scenes: Tensor
    clip_ids: Tensor
    t5_ids: Tensor


class Studio:
    """The shared parts of one run, made when they are first needed."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        self.folder, self.scale = folder, scale
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self._latents: dict[tuple[int, int], Tensor] = {}
        self._ids: dict[tuple[int, int], Tensor] = {}

    @cached_property
    def scenes(self) -> CaptionedScenes:
        """The training set, read from the folder or described now."""
        path = self.folder / "scenes.pt"
        if not path.exists():
            with timed("describing the scenes"):
                scenes = describe_scenes(
                    sample_captioned_scene, self.scale.scenes, SCENE_SEED, self.folder
                )
                scenes.save(path)
        return CaptionedScenes.load(path).to(self.device)

    @cached_property
    def codec(self) -> LatentCodec:
        """The trained autoencoder."""
        vae = AutoencoderKL.from_pretrained(self.folder / "vae").requires_grad_(False)
        return LatentCodec(vae.to(self.device, self.dtype), self.dtype)

    @cached_property
    def prompts(self) -> PromptEncoder:
        """The text encoders that dev was trained with, frozen."""
        return self._prepare(PromptEncoder.load(self.folder).requires_grad_(False))

    def renew_prompts(self) -> None:
        """Start over with untrained text encoders."""
        models = build_text_encoders(CaptionEncoder(self.folder))
        self.prompts = self._prepare(PromptEncoder(*models))

    @cached_property
    def depth_estimator(self) -> DepthAnythingForDepthEstimation:
        """The trained depth estimator, frozen."""
        model = DepthAnythingForDepthEstimation.from_pretrained(self.folder / "depth_estimator")
        return model.requires_grad_(False).to(self.device, self.dtype)

    @cached_property
    def empty_prompt(self) -> Captions:
        """The ids of one empty prompt."""
        t5_ids, clip_ids = CaptionEncoder(self.folder)([""])
        return Captions(
            scenes=torch.zeros(1, dtype=torch.long, device=self.device),
            clip_ids=torch.from_numpy(clip_ids).to(self.device),
            t5_ids=torch.from_numpy(t5_ids).to(self.device),
        )

    def latents(self, canvas: tuple[int, int]) -> Tensor:
        """Image tokens of the scenes, drawn at the size; fewer scenes where it is not square."""
        if canvas not in self._latents:
            height, width = canvas
            is_square = canvas == (CANVAS, CANVAS)
            count = self.scale.scenes if is_square else self.scale.scenes_of_other_sizes
            with timed(f"drawing {count} scenes of {width}x{height}"):
                batches = [
                    self.codec.encode(draw(rows, height, width).images).to(self.dtype)
                    for rows in self.scenes.rows[:count, 0].split(DRAWING_BATCH)
                ]
                self._latents[canvas] = torch.cat(batches)
        return self._latents[canvas]

    def image_ids(self, canvas: tuple[int, int]) -> Tensor:
        """Coordinates of the image tokens of a picture of this size."""
        if canvas not in self._ids:
            self._ids[canvas] = image_ids(canvas[0] // 16, canvas[1] // 16, self.device)
        return self._ids[canvas]

    def draw_captions(self, count: int, among: int, empty_share: float) -> Captions:
        """Random captions of the first `among` scenes, some of them replaced by nothing."""
        return self.draw_words(self.scenes, count, among, empty_share)

    def draw_words(
        self, scenes: CaptionedScenes, count: int, among: int, empty_share: float
    ) -> Captions:
        """Random wordings of the first `among` lessons, some of them replaced by nothing."""
        chosen = torch.randint(among, (count,), device=self.device)
        wordings = torch.randint(scenes.t5_ids.shape[1], (count,), device=self.device)
        empty = (torch.rand(count, device=self.device) < empty_share)[:, None]
        clip_ids, t5_ids = (
            torch.where(empty, nothing, ids[chosen, wordings])
            for ids, nothing in (
                (scenes.clip_ids, self.empty_prompt.clip_ids),
                (scenes.t5_ids, self.empty_prompt.t5_ids),
            )
        )
        return Captions(scenes=chosen, clip_ids=clip_ids, t5_ids=t5_ids)

    def batch_size(self, layout: Layout) -> int:
        """Pictures a batch at this run's scale."""
        return max(2, layout.batch_size // self.scale.batch_divisor)

    def load_transformer(self, name: str) -> FluxTransformer2DModel:
        """A transformer of an earlier stage."""
        transformer = FluxTransformer2DModel.from_pretrained(self.folder / name)
        return transformer.to(self.device, self.dtype)

    def save(self, model: nn.Module, name: str) -> None:
        """Write a model's weights in bfloat16 under its name."""
        model.to(torch.bfloat16).save_pretrained(self.folder / name)

    def _prepare(self, prompts: PromptEncoder) -> PromptEncoder:
        prompts = prompts.to(self.device, self.dtype)
        make_embeddings_graph_safe(prompts)
        return prompts
