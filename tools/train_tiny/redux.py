"""Trains Redux: a small SigLIP and its embedder, which speak to dev in images instead of words."""

from dataclasses import replace
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from torch import Tensor, nn
from torch.nn import functional
from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

from .data import CaptionedScenes, describe_scenes
from .drawing import draw
from .flow import Prompt, mix, predict_velocity, sample_times
from .optimizer import FlatMuon
from .scenes import CANVAS
from .studio import DRAWING_BATCH, Layout, Studio
from .text import TEXT_WIDTH, make_embeddings_graph_safe, plain_embeddings
from .tokenization import TRAINING_LENGTH
from .training import Budget, Step, compile_blocks, timed, train
from .variations import IMAGES, LOOSENESS, sample_redux

SECONDS = 150.0
WORDS_RATE, LEARNING_RATE = 2e-3, 1e-3
WORDS_SHARE, WORDS_BATCH = 0.2, 512
WIDTH, LAYERS, HEADS, PATCH = 128, 4, 4, 16
LESSON_SEED = 13
LESSONS_PER_SCALE = 2
"""A lesson here stands for this many of the other tools', since it is drawn up to seven times."""
FULL_STRENGTH = 0.6
"""Share of the lessons at strength 1; the others are at any strength."""
WEAKEST = 0.1
HIGHEST_GUIDANCE = 10.0
# The transformer sees what it will see in the pipeline: 512 tokens of text before the image's.
LAYOUT = Layout(
    name="redux",
    height=CANVAS,
    width=CANVAS,
    text_length=512,
    batch_size=128,
    share=1,
    compiles=True,
)


class ReduxPrior(nn.Module):
    """SigLIP and the embedder, from pictures to tokens as wide as T5's."""

    def __init__(self, image_encoder: SiglipVisionModel, image_embedder: ReduxImageEncoder) -> None:
        super().__init__()
        self.image_encoder, self.image_embedder = image_encoder, image_embedder

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, 128, 128) in -1..1 as tokens (B, 64, 64)."""
        hidden = self.image_encoder(pixel_values=images).last_hidden_state
        embeddings: Tensor = self.image_embedder(hidden).image_embeds
        return embeddings

    def save(self, folder: Path) -> None:
        """Write the parts in bfloat16, under the names that FluxPriorReduxPipeline gives them."""
        with plain_embeddings(self):
            self.to(torch.bfloat16)
            self.image_encoder.save_pretrained(folder / "image_encoder")
            self.image_embedder.save_pretrained(folder / "image_embedder")
        build_image_processor().save_pretrained(folder / "feature_extractor")


def build_prior() -> ReduxPrior:
    """An untrained SigLIP of 0.7 M parameters, and an embedder."""
    image_encoder = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            image_size=CANVAS,
            patch_size=PATCH,
            vision_use_head=False,
        )
    )
    return ReduxPrior(image_encoder, ReduxImageEncoder(WIDTH, TEXT_WIDTH))


def build_image_processor() -> SiglipImageProcessor:
    """What prepares pictures for SigLIP: a square, whatever their aspect ratio."""
    return SiglipImageProcessor(
        size={"height": CANVAS, "width": CANVAS},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        resample=3,
    )


def train_redux(studio: Studio, budget: Budget) -> None:
    """Train the prior against dev as it is, and save it."""
    torch.manual_seed(0)
    prior = build_prior().to(studio.device, studio.dtype)
    make_embeddings_graph_safe(prior)
    objective = ReduxMatching(studio, prior, studio.load_transformer("guidance"))
    train(
        "redux words",
        FlatMuon([prior]),
        [Step("words", objective.word_loss)],
        budget=replace(budget, seconds=WORDS_SHARE * budget.seconds),
        learning_rate=WORDS_RATE,
        checkpoint=studio.folder / "redux-words.checkpoint.pt",
    )
    train(
        "redux",
        FlatMuon([prior]),
        [Step(LAYOUT.name, lambda: objective.loss(LAYOUT))],
        budget=replace(budget, seconds=(1 - WORDS_SHARE) * budget.seconds),
        learning_rate=LEARNING_RATE,
        checkpoint=studio.folder / "redux.checkpoint.pt",
    )
    prior.save(studio.folder / "redux")


class ReduxMatching:
    """Teaches image tokens to speak to dev, which stays as it is.

    First they learn to say what T5 says of the image's caption; from nothing, flow matching hardly
    finds a language that dev understands. Then, by flow matching through dev, they learn what a
    caption leaves out, blends and strengths. At any guidance the pictures are the truth; low
    guidance, like the usual 2.5, comes most often.
    """

    def __init__(
        self, studio: Studio, prior: ReduxPrior, transformer: FluxTransformer2DModel
    ) -> None:
        self.studio, self.prior = studio, prior
        self.transformer = transformer.requires_grad_(False)
        compile_blocks(self.transformer)
        count = max(2, studio.scale.lessons // LESSONS_PER_SCALE)
        with timed(f"describing {count} lessons of redux"):
            lessons = describe_scenes(sample_redux, count, LESSON_SEED, studio.folder)
        self.lessons: CaptionedScenes = lessons.to(studio.device)
        self.weights = image_weights(self.lessons.rows[:, len(LOOSENESS) :]).to(studio.dtype)
        with timed(f"drawing {count} lessons of redux"):
            self.pictures, self.images = self._draw()

    def word_loss(self) -> Tensor:
        """The mean squared error of the tokens of single images against T5's of their captions."""
        count = max(2, WORDS_BATCH // self.studio.scale.batch_divisor)
        chosen = torch.randint(len(self.lessons), (count,), device=self.studio.device)
        first = len(LOOSENESS)
        with torch.no_grad():
            words, _ = self.studio.prompts(
                self.lessons.clip_ids[chosen, first],
                self.lessons.t5_ids[chosen, first],
                TRAINING_LENGTH,
            )
        tokens = self._embed(self.images[chosen, 0]).float()
        silence = tokens.shape[1] - TRAINING_LENGTH
        return (tokens - functional.pad(words.float(), (0, 0, 0, silence))).square().mean()

    def loss(self, layout: Layout) -> Tensor:
        """The mean squared error of dev's velocity on one batch."""
        studio, count = self.studio, self.studio.batch_size(layout)
        chosen = torch.randint(len(self.lessons), (count,), device=studio.device)
        weak = WEAKEST + (1 - WEAKEST) * torch.rand(count, device=studio.device)
        is_full = torch.rand(count, device=studio.device) < FULL_STRENGTH
        strength = torch.where(is_full, 1.0, weak)
        looseness = ((1 - strength) * len(LOOSENESS)).long()
        pictures = self.pictures[chosen, looseness].float()
        noise, times = torch.randn_like(pictures), sample_times(count, studio.device)
        draws = torch.rand(count, device=studio.device)
        predicted = predict_velocity(
            studio,
            self.transformer,
            mix(pictures, noise, times),
            times,
            self._prompt(chosen, looseness, strength, layout.text_length),
            layout,
            guidance=1 + (HIGHEST_GUIDANCE - 1) * draws**3,
        )
        return (predicted - (noise - pictures)).square().mean()

    def _prompt(self, chosen: Tensor, looseness: Tensor, strength: Tensor, length: int) -> Prompt:
        """The words' tokens, zeros where there are none, and after them the images' mean tokens."""
        t5_ids = self.lessons.t5_ids[chosen, looseness]
        clip_ids = self.lessons.clip_ids[chosen, looseness]
        with torch.no_grad():
            text, pooled = self.studio.prompts(clip_ids, t5_ids, length)
        has_words = (t5_ids != self.studio.empty_prompt.t5_ids).any(1, keepdim=True)
        embeddings = self._embed(self.images[chosen].flatten(0, 1)).unflatten(0, (-1, IMAGES))
        weights = self.weights[chosen] * strength[:, None].to(self.weights.dtype)
        mean = (embeddings * weights[:, :, None, None]).sum(1)
        return torch.cat((text * has_words[..., None], mean), 1), pooled * has_words

    def _embed(self, images: Tensor) -> Tensor:
        return self.prior(images.to(self.studio.dtype) / 127.5 - 1)

    @torch.no_grad()
    def _draw(self) -> tuple[Tensor, Tensor]:
        """Tokens of the variations (N, 3, T, 64), and the images (N, 4, 3, 128, 128) in bytes."""
        pictures, images = [], []
        for rows in self.lessons.rows.split(DRAWING_BATCH // IMAGES):
            targets, sources = rows.split((len(LOOSENESS), IMAGES), 1)
            drawn = draw(targets.flatten(0, 1)).images
            tokens = self.studio.codec.encode(drawn).to(self.studio.dtype)
            pictures.append(tokens.unflatten(0, (-1, len(LOOSENESS))))
            drawn = draw(sources.flatten(0, 1)).images
            drawn = (drawn * 255).round().to(torch.uint8)
            images.append(drawn.unflatten(0, (-1, IMAGES)))
        return torch.cat(pictures), torch.cat(images)


def image_weights(rows: Tensor) -> Tensor:
    """The share (B, images) that each image has in the mean; 0 where there is none."""
    is_there = (rows[..., 0] >= 0).float()
    return is_there / is_there.sum(1, keepdim=True)
