"""Trains Redux: a small SigLIP and its embedder, which speak to dev in images instead of words."""

import math
from dataclasses import replace
from functools import partial
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
from .variations import IMAGES, sample_redux

SECONDS = 300.0
WORDS_RATE, LEARNING_RATE = 2e-3, 1e-3
WORDS_SHARE, WORDS_BATCH = 0.3, 128
WIDTH, LAYERS, HEADS, PATCH = 128, 4, 4, 16
LESSON_SEED = 13
LESSONS_PER_SCALE = 2
"""A lesson here stands for this many of the other tools', since it is drawn up to three times."""
FULL_STRENGTH = 0.8
"""Share of the lessons at strength 1; the others are at any strength."""
WEAKEST = 0.4
HIGHEST_GUIDANCE = 10.0
HIDDEN = -1e4
"""Bias of what nobody may attend to."""
SILENCE = 512
"""Zeros that stand before the images' tokens in the place of words."""
PROMPT, OF_VARIATION, OF_FIRST_IMAGE = range(3)
"""Which wording of a lesson is which."""
LAYOUT = Layout(
    name="redux",
    height=CANVAS,
    width=CANVAS,
    text_length=TRAINING_LENGTH,
    batch_size=64,
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


def load_prior(folder: Path) -> ReduxPrior:
    """What `ReduxPrior.save` wrote."""
    return ReduxPrior(
        SiglipVisionModel.from_pretrained(folder / "image_encoder", dtype=torch.float32),
        ReduxImageEncoder.from_pretrained(folder / "image_embedder", torch_dtype=torch.float32),
    )


def build_image_processor() -> SiglipImageProcessor:
    """What prepares pictures for SigLIP: a square, whatever their aspect ratio."""
    return SiglipImageProcessor(
        size={"height": CANVAS, "width": CANVAS},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        resample=3,
    )


def train_redux(studio: Studio, budget: Budget, *, refine: bool = False) -> None:
    """Train the prior against dev as it is, and save it.

    With `refine` the saved one goes on with the second of its two lessons, in smaller steps.
    """
    torch.manual_seed(0)
    prior = load_prior(studio.folder / "redux") if refine else build_prior()
    prior.to(studio.device, studio.dtype)
    make_embeddings_graph_safe(prior)
    objective = ReduxDistillation(studio, prior, studio.load_transformer("guidance"))
    if not refine:
        train(
            "redux words",
            FlatMuon([prior]),
            [Step("words", objective.word_loss)],
            budget=replace(budget, seconds=WORDS_SHARE * budget.seconds),
            learning_rate=WORDS_RATE,
            checkpoint=studio.folder / "redux-words.checkpoint.pt",
        )
        budget = replace(budget, seconds=(1 - WORDS_SHARE) * budget.seconds)
    train(
        "redux",
        FlatMuon([prior]),
        [Step(LAYOUT.name, objective.loss)],
        budget=budget,
        learning_rate=LEARNING_RATE / 4 if refine else LEARNING_RATE,
        checkpoint=studio.folder / "redux.checkpoint.pt",
    )
    prior.save(studio.folder / "redux")


class ReduxDistillation:
    """Teaches image tokens to speak to dev, which stays as it is.

    First they learn to say what T5 says of the image's caption. Then dev is to paint by the tokens
    of one image or two, at any strength and with any words beside them, what it paints by a
    caption of the variation. (Matching the pictures themselves is so noisy a lesson that it
    undid the first: the colours were right in a third of the pictures.)
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
        self.is_there = self.lessons.rows[:, 1:, 0] >= 0
        with timed(f"drawing {count} lessons of redux"):
            self.pictures, self.images = self._draw()

    def word_loss(self) -> Tensor:
        """The mean squared error of the tokens of single images against T5's of their captions."""
        count = max(2, WORDS_BATCH // self.studio.scale.batch_divisor)
        chosen = torch.randint(len(self.lessons), (count,), device=self.studio.device)
        with torch.no_grad():
            words, _ = self._words(chosen, OF_FIRST_IMAGE)
        tokens = self._embed(self.images[chosen, 0]).float()
        silence = tokens.shape[1] - TRAINING_LENGTH
        return (tokens - functional.pad(words.float(), (0, 0, 0, silence))).square().mean()

    def loss(self) -> Tensor:
        """The mean squared error of dev's velocity by images against that by a caption."""
        studio, count = self.studio, self.studio.batch_size(LAYOUT)
        chosen = torch.randint(len(self.lessons), (count,), device=studio.device)
        weak = WEAKEST + (1 - WEAKEST) * torch.rand(count, device=studio.device)
        is_full = torch.rand(count, device=studio.device) < FULL_STRENGTH
        strength = torch.where(is_full, 1.0, weak)
        pictures = self.pictures[chosen].float()
        noise, times = torch.randn_like(pictures), sample_times(count, studio.device)
        draws = torch.rand(count, device=studio.device)
        predict = partial(
            predict_velocity,
            studio,
            self.transformer,
            mix(pictures, noise, times),
            times,
            layout=LAYOUT,
            # Low guidance, like the usual 2.5, comes most often.
            guidance=1 + (HIGHEST_GUIDANCE - 1) * draws**3,
        )
        with torch.no_grad():
            target = predict(prompt=self._words(chosen, OF_VARIATION))
        prompt, bias = self._prompt(chosen, strength, pictures.shape[1])
        return (predict(prompt=prompt, attention_bias=bias) - target).square().mean()

    def _prompt(self, chosen: Tensor, strength: Tensor, others: int) -> tuple[Prompt, Tensor]:
        """The words' tokens, zeros where there are none, and after them each image's tokens.

        In the pipeline the zeros are 512. Equal tokens stay equal in every block, so fewer of them
        do if each counts for as many more where it is attended to. That is the bias (B, 1, 1, all),
        which also hides the images that are missing.
        """
        with torch.no_grad():
            text, pooled = self._words(chosen, PROMPT)
        t5_ids = self.lessons.t5_ids[chosen, PROMPT]
        has_words = (t5_ids != self.studio.empty_prompt.t5_ids).any(1, keepdim=True)
        tokens = self._embed(self.images[chosen].flatten(0, 1)).unflatten(0, (-1, IMAGES))
        images = (tokens * strength[:, None, None, None].to(tokens.dtype)).flatten(1, 2)
        length = text.shape[1]
        silence = torch.where(has_words, 0.0, math.log(SILENCE / length)).expand(-1, length)
        hidden = torch.where(self.is_there[chosen], 0.0, HIDDEN)
        hidden = hidden.repeat_interleave(tokens.shape[2], 1)
        bias = functional.pad(torch.cat((silence, hidden), 1), (0, others)).to(tokens.dtype)
        prompt = torch.cat((text * has_words[..., None], images), 1), pooled * has_words
        return prompt, bias[:, None, None]

    def _words(self, chosen: Tensor, wording: int) -> Prompt:
        clip_ids, t5_ids = self.lessons.clip_ids[chosen, wording], self.lessons.t5_ids
        return self.studio.prompts(clip_ids, t5_ids[chosen, wording], LAYOUT.text_length)

    def _embed(self, images: Tensor) -> Tensor:
        return self.prior(images.to(self.studio.dtype) / 127.5 - 1)

    @torch.no_grad()
    def _draw(self) -> tuple[Tensor, Tensor]:
        """Tokens of the variations (N, T, 64), and the images (N, 2, 3, 128, 128) in bytes."""
        pictures, images = [], []
        for rows in self.lessons.rows.split(DRAWING_BATCH // IMAGES):
            pictures.append(self.studio.codec.encode(draw(rows[:, 0]).images).to(self.studio.dtype))
            sources = rows[:, 1:]
            is_there = sources[..., 0] >= 0
            shown = sources.new_zeros(*is_there.shape, 3, CANVAS, CANVAS, dtype=torch.uint8)
            shown[is_there] = (draw(sources[is_there]).images * 255).round().to(torch.uint8)
            images.append(shown)
        return torch.cat(pictures), torch.cat(images)
