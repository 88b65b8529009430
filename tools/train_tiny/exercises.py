"""Lessons drawn for the transformer, and the loss by which Fill, Depth, Canny and Kontext learn."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch.nn import functional

from .data import CaptionedScenes, Lesson, describe_scenes
from .depth import estimate_depth
from .drawing import Paint, draw, named_paint
from .edges import HIGH, LOW, canny, to_gray
from .flow import mix, predict_velocity, sample_times
from .lessons import sample_control, sample_fill, sample_kontext
from .masks import random_masks
from .models import PATCH_CHANNELS, pack_latents
from .scenes import CANVAS
from .studio import DRAWING_BATCH, Captions, Layout, Studio
from .training import compile_blocks, timed

EMPTY_PROMPT_SHARE = 0.1
GUIDANCE_SCALE = 3.0
LESSON_SEED = 12
PIXELS_OF_A_TOKEN = 256
REPAINTED = 0.5
"""Share of controls that come from the same shapes in other colours than the picture's."""
USUAL_THRESHOLDS = 0.5
LOWEST, HIGHEST = (20, 60), (150, 250)
"""Bounds between which the other pairs of Canny's thresholds lie."""
WORN = 0.25
"""Share of edge maps that are thickened, and of those that have gaps."""


@dataclass(frozen=True, kw_only=True)
class Exercises:
    """N lessons of one canvas, drawn.

    `pictures` (N, T, 64) are to be painted, `hints` (N, T, C) are channels beside the noise and
    `references` (N, T, 64) tokens after it, where the tool has such.
    """

    pictures: Tensor
    hints: Tensor | None = None
    references: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A tool's lessons: how they are sampled, how a batch of rows is drawn on a canvas."""

    name: str
    sample: Callable[[Random], Lesson]
    draw: Callable[[Studio, Tensor, tuple[int, int]], Exercises]
    hint_channels: int = 0
    highest_guidance: float


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A batch as the transformer is shown it, and the velocity that leads to its pictures."""

    words: Captions
    tokens: Tensor
    times: Tensor
    references: Tensor | None
    guidance: Tensor
    velocity: Tensor


class Practice:
    """Flow matching on a subject's exercises.

    Any guidance is to give the same picture: with a hint or a reference the models follow their
    prompts without it.
    """

    def __init__(
        self, subject: Subject, studio: Studio, transformer: FluxTransformer2DModel
    ) -> None:
        self.subject, self.studio, self.transformer = subject, studio, transformer
        self.exercises: dict[tuple[int, int], Exercises] = {}
        with timed(f"describing the lessons of {subject.name}"):
            self.lessons: CaptionedScenes = describe_scenes(
                subject.sample, studio.scale.lessons, LESSON_SEED, studio.folder
            ).to(studio.device)

    def loss(self, layout: Layout) -> Tensor:
        """The mean squared error of the velocity on one batch."""
        problem = self._set_problem(layout)
        predicted = self._solve(self.transformer, problem, problem.words, layout)
        return (predicted - problem.velocity).square().mean()

    def _set_problem(self, layout: Layout) -> Problem:
        """A random batch, on its way between pictures and noise."""
        studio, count = self.studio, self.studio.batch_size(layout)
        exercises = self._exercises(layout.canvas)
        words = studio.draw_words(self.lessons, count, len(exercises.pictures), EMPTY_PROMPT_SHARE)
        pictures = exercises.pictures[words.scenes].float()
        noise, times = torch.randn_like(pictures), sample_times(count, studio.device)
        tokens, references = mix(pictures, noise, times), None
        if exercises.hints is not None:
            tokens = torch.cat((tokens, exercises.hints[words.scenes]), 2)
        if exercises.references is not None:
            references = exercises.references[words.scenes]
        return Problem(
            words=words,
            tokens=tokens,
            times=times,
            references=references,
            guidance=self.subject.highest_guidance * torch.rand(count, device=studio.device),
            velocity=noise - pictures,
        )

    def _solve(
        self,
        transformer: FluxTransformer2DModel,
        problem: Problem,
        words: Captions,
        layout: Layout,
    ) -> Tensor:
        """The velocity that a transformer predicts, told these words."""
        prompt = self.studio.prompts(words.clip_ids, words.t5_ids, layout.text_length)
        embeddings, pooled = (each.expand(len(problem.tokens), *each.shape[1:]) for each in prompt)
        return predict_velocity(
            self.studio,
            transformer,
            problem.tokens,
            problem.times,
            (embeddings, pooled),
            layout,
            problem.guidance,
            problem.references,
        )

    def advance(self, spent: float) -> None:
        """Nothing changes while training."""

    def _exercises(self, canvas: tuple[int, int]) -> Exercises:
        """The canvas's exercises, drawn on the first call, while the step's graph warms up."""
        if canvas not in self.exercises:
            scale = self.studio.scale
            is_square = canvas == (CANVAS, CANVAS)
            count = scale.lessons if is_square else scale.lessons_of_other_sizes
            with timed(f"drawing {count} lessons of {canvas[1]}x{canvas[0]}"):
                self.exercises[canvas] = self._draw(self.lessons.rows[:count], canvas)
        return self.exercises[canvas]

    @torch.no_grad()
    def _draw(self, rows: Tensor, canvas: tuple[int, int]) -> Exercises:
        drawn = [
            self.subject.draw(self.studio, batch, canvas) for batch in rows.split(DRAWING_BATCH)
        ]

        def gather(name: str) -> Tensor | None:
            parts = [getattr(batch, name) for batch in drawn]
            return None if parts[0] is None else torch.cat(parts)

        return Exercises(**{field.name: gather(field.name) for field in fields(Exercises)})


class GuidedPractice(Practice):
    """Teach a tool what classifier-free guidance would make of it (Meng et al. 2022).

    Its pictures become as clear as dev's, at one evaluation a step.
    """

    def __init__(
        self, subject: Subject, studio: Studio, transformer: FluxTransformer2DModel
    ) -> None:
        super().__init__(subject, studio, transformer)
        self.teacher = studio.load_transformer(subject.name).requires_grad_(False)
        compile_blocks(self.teacher)

    def loss(self, layout: Layout) -> Tensor:
        """The mean squared error against the guided velocity of the teacher."""
        problem = self._set_problem(layout)
        with torch.no_grad():
            guided = self._solve(self.teacher, problem, problem.words, layout)
            free = self._solve(self.teacher, problem, self.studio.empty_prompt, layout)
            target = free + GUIDANCE_SCALE * (guided - free)
        predicted = self._solve(self.transformer, problem, problem.words, layout)
        return (predicted - target).square().mean()


def draw_fill(studio: Studio, rows: Tensor, canvas: tuple[int, int]) -> Exercises:
    """Pictures; what of them the mask leaves, and the mask itself, as FluxFillPipeline packs it."""
    drawing = draw(rows[:, 0], *canvas)
    generator = torch.Generator(studio.device).manual_seed(int(torch.randint(2**31, ())))
    masks = random_masks(rows[:, 1], drawing, generator)
    return Exercises(
        pictures=studio.codec.encode(drawing.images).to(studio.dtype),
        hints=fill_hints(studio, drawing.images, masks),
    )


def fill_hints(studio: Studio, images: Tensor, masks: Tensor) -> Tensor:
    """Hints (B, T, 320) of images (B, 3, H, W) and masks (B, 1, H, W): what is masked is gray."""
    remaining = studio.codec.sample((images - 0.5) * (1 - masks) + 0.5)
    packed = pack_latents(functional.pixel_unshuffle(masks, 8))
    return torch.cat((remaining, packed), 2).to(studio.dtype)


def draw_kontext(studio: Studio, rows: Tensor, canvas: tuple[int, int]) -> Exercises:
    """Pictures after an edit, and those before it."""
    after, before = (
        studio.codec.encode(draw(scenes, *canvas).images).to(studio.dtype)
        for scenes in rows.unbind(1)
    )
    return Exercises(pictures=after, references=before)


def draw_depth(studio: Studio, rows: Tensor, canvas: tuple[int, int]) -> Exercises:
    """Pictures, and what the depth estimator says of the same shapes."""
    images, painted = _draw_control(rows[:, 0], canvas)
    depths = estimate_depth(studio.depth_estimator, painted)
    return _with_control(studio, images, depths.expand_as(images))


def draw_canny(studio: Studio, rows: Tensor, canvas: tuple[int, int]) -> Exercises:
    """Pictures, and edges of the same shapes, by various thresholds, some thick or with gaps."""
    images, painted = _draw_control(rows[:, 0], canvas)
    count, device = len(images), images.device
    usual = torch.rand(count, device=device) < USUAL_THRESHOLDS
    low, high = (
        torch.where(usual, value, start + span * torch.rand(count, device=device)).int()
        for value, start, span in (
            (LOW, LOWEST[0], LOWEST[1] - LOWEST[0]),
            (HIGH, HIGHEST[0], HIGHEST[1] - HIGHEST[0]),
        )
    )
    edges = canny(to_gray(painted), low, high).float()[:, None]
    thick = torch.rand(count, 1, 1, 1, device=device) < WORN
    edges = torch.where(
        thick, functional.max_pool2d(functional.pad(edges, (0, 1, 0, 1)), 2, 1), edges
    )
    cells = torch.rand(count, 1, 12, 12, device=device)
    gaps = functional.interpolate(cells, size=canvas, mode="bilinear") < 0.3
    gappy = torch.rand(count, 1, 1, 1, device=device) < WORN
    edges = edges * ~(gappy & gaps)
    return _with_control(studio, images, edges.expand_as(images))


def _draw_control(rows: Tensor, canvas: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Images of the scenes, and of the same shapes, some of them in other colours."""
    paint = named_paint(rows)
    backgrounds, objects = torch.rand_like(paint.backgrounds), torch.rand_like(paint.objects)
    repainted = torch.rand(len(rows), 1, device=rows.device) < REPAINTED
    other = Paint(
        backgrounds=torch.where(repainted, backgrounds, paint.backgrounds),
        objects=torch.where(repainted[..., None], objects, paint.objects),
    )
    return draw(rows, *canvas).images, draw(rows, *canvas, paint=other).images


def _with_control(studio: Studio, images: Tensor, controls: Tensor) -> Exercises:
    return Exercises(
        pictures=studio.codec.encode(images).to(studio.dtype),
        hints=studio.codec.sample(controls).to(studio.dtype),
    )


FILL = Subject(
    name="fill",
    sample=sample_fill,
    draw=draw_fill,
    hint_channels=PATCH_CHANNELS + PIXELS_OF_A_TOKEN,
    highest_guidance=50,
)
KONTEXT = Subject(name="kontext", sample=sample_kontext, draw=draw_kontext, highest_guidance=10)
DEPTH = Subject(
    name="depth",
    sample=sample_control,
    draw=draw_depth,
    hint_channels=PATCH_CHANNELS,
    highest_guidance=50,
)
CANNY = Subject(
    name="canny",
    sample=sample_control,
    draw=draw_canny,
    hint_channels=PATCH_CHANNELS,
    highest_guidance=50,
)
