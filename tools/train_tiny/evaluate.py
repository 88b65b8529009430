"""Measures the family through the real pipelines, on prompts and scenes it was not trained on."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline
from optimum.quanto import freeze, qint8, quantize
from PIL import Image
from torch import Tensor

from bot.inference.repositories import Repositories
from bot.inference.segmentation import Segmenter
from bot.inference.similarity import Floats, psnr, ssim
from bot.inference.tools import FAMILIES

from .assemble import DEV, SCHNELL, SEGMENTER, load_pipeline
from .drawing import draw
from .exam import Exam, Marks, answer, mark_all, to_tensor
from .exam_control import canny_exam, depth_exam
from .exam_fill import fill_exam
from .exam_kontext import kontext_exam
from .exam_redux import ReduxModels, redux_questions
from .exam_words import GOOD, fresh_scenes, words_exam
from .prompts import Prompt, fresh_prompts
from .scenes import CANVAS, encode_scene, sample_scene
from .scoring import Score, score

PROMPT_SEED = 20_000
SCENE_SEED = 30_000
PICTURE_SEED = 40_000
BATCH_SIZE = 20
VAE_SCENES = 64
QUESTIONS_AT_EXTREMES = 40


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a model is asked for pictures."""

    name: str
    steps: int
    guidance: float
    prompt_length: int


SETTINGS = (
    Setting(name=SCHNELL, steps=4, guidance=0.0, prompt_length=256),
    Setting(name=DEV, steps=28, guidance=3.5, prompt_length=512),
)


def evaluate(family: Path, prompts: int, models: Collection[str]) -> None:
    """Print the tables of figures of the chosen models."""
    for name, examine in EXAMINERS.items():
        if name in models:
            with torch.no_grad():
                examine(family, prompts)


def examine_generation(family: Path, count: int) -> None:
    """The autoencoder, and whether schnell and dev draw what the prompts say."""
    print(f"VAE PSNR on fresh scenes: {_describe(vae_psnr(family), 'dB')}")
    requests = fresh_prompts(count, PROMPT_SEED)
    columns = ("object", "background", "both", "shape", "s/picture")
    print(f"{f'{count} fresh prompts':22}" + "".join(f"{column:>12}" for column in columns))
    for setting in SETTINGS:
        pipeline = load_pipeline(family, setting.name).to(_device())
        full = _report(setting.name, pipeline, requests, setting)
        _quantize(pipeline.transformer, pipeline.text_encoder_2)
        quantized = _report(f"{setting.name} 8-bit", pipeline, requests, setting)
        _report_likeness(quantized, full)


def examine_tool(exam: Exam, family: Path) -> None:
    """A tool's marks at full precision, at 8 bits and at the bounds of its guidance."""
    pipeline = load_pipeline(family, exam.model).to(_device())
    some = replace(exam, questions=exam.questions[:QUESTIONS_AT_EXTREMES])
    full = answer(exam, pipeline)
    columns = {
        f"guidance {guidance}": mark_all(
            some.questions, answer(replace(some, guidance=guidance), pipeline)
        )
        for guidance in exam.extremes
    }
    _quantize(pipeline.transformer, pipeline.text_encoder_2)
    quantized = answer(exam, pipeline)
    _print_marks(
        f"{exam.title}: {len(exam.questions)} fresh pictures",
        {
            "full": mark_all(exam.questions, full),
            "8-bit": mark_all(exam.questions, quantized),
            "shuffled": mark_all(exam.questions, full[1:] + full[:1]),
            **columns,
        },
    )
    _report_likeness(quantized, full)


def examine_redux(family: Path, count: int) -> None:
    """Redux's marks, and how much two seeds differ."""
    questions = redux_questions(count, SCENE_SEED)
    models = ReduxModels(family, _device(), torch.float32)
    full, other = models.answer(questions, PICTURE_SEED), models.answer(questions, SCENE_SEED)
    _quantize(*models.quantized)
    quantized = models.answer(questions, PICTURE_SEED)
    _print_marks(
        f"Redux: {count} fresh pictures",
        {
            "full": mark_all(questions, full),
            "8-bit": mark_all(questions, quantized),
            "shuffled": mark_all(questions, full[6:] + full[:6]),
            "other seed": mark_all(questions, other),
        },
    )
    difference = (to_tensor(full) - to_tensor(other)).abs().mean((1, 2, 3))
    print(f"  difference of two seeds, of 1: {_describe(difference)}")
    _report_likeness(quantized, full)


def examine_words(family: Path, count: int) -> None:
    """Whether the segmenter finds what words name, and refuses what is not there."""
    segmenter = Segmenter(
        str(family / SEGMENTER), Repositories(family=FAMILIES["flux"], token=None)
    )
    marks = words_exam(segmenter, fresh_scenes(count, SCENE_SEED))
    print(f"Words: {count} fresh scenes")
    print(f"  found, overlap at least {GOOD}: {marks.found:.1%}, mean overlap {marks.overlap:.3f}")
    print(f"  absent refused: {marks.refused:.1%}, unknown words: {marks.refused_unknown:.1%}")


EXAMINERS: dict[str, Callable[[Path, int], None]] = {
    "generate": examine_generation,
    "fill": lambda family, count: examine_tool(fill_exam(count, SCENE_SEED), family),
    "kontext": lambda family, count: examine_tool(kontext_exam(count, SCENE_SEED), family),
    "depth": lambda family, count: examine_tool(depth_exam(count, SCENE_SEED, family), family),
    "canny": lambda family, count: examine_tool(canny_exam(count, SCENE_SEED), family),
    "redux": examine_redux,
    "words": examine_words,
}


def generate(
    pipeline: FluxPipeline,
    texts: Sequence[str],
    setting: Setting,
    *,
    seed: int = PICTURE_SEED,
    height: int = CANVAS,
    width: int = CANVAS,
) -> list[Image.Image]:
    """One picture a prompt, each from its own seed."""
    pictures: list[Image.Image] = []
    for start in range(0, len(texts), BATCH_SIZE):
        batch = list(texts[start : start + BATCH_SIZE])
        seeds = range(seed + start, seed + start + len(batch))
        pictures += pipeline(
            prompt=batch,
            num_inference_steps=setting.steps,
            guidance_scale=setting.guidance,
            max_sequence_length=setting.prompt_length,
            height=height,
            width=width,
            generator=[torch.Generator().manual_seed(number) for number in seeds],
        ).images
    return pictures


@torch.no_grad()
def vae_psnr(family: Path) -> Floats:
    """PSNR in dB of fresh scenes after encoding, sampling and decoding."""
    vae = AutoencoderKL.from_pretrained(family / SCHNELL / "vae", dtype=torch.float32)
    rng = Random(SCENE_SEED)
    rows = torch.tensor([encode_scene(sample_scene(rng)) for _ in range(VAE_SCENES)])
    images = draw(rows).images
    generator = torch.Generator().manual_seed(PICTURE_SEED)
    latents = vae.encode(images * 2 - 1).latent_dist.sample(generator)
    decoded = (vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)
    return psnr(decoded.numpy(), images.numpy())


def _report(
    title: str, pipeline: FluxPipeline, prompts: Sequence[Prompt], setting: Setting
) -> list[Image.Image]:
    start = time.monotonic()
    pictures = generate(pipeline, [prompt.text for prompt in prompts], setting)
    seconds = (time.monotonic() - start) / len(prompts)
    print(_format_row(title, score(pictures, prompts), seconds), flush=True)
    return pictures


def _format_row(title: str, result: Score, seconds: float) -> str:
    figures = (result.colour, result.background, result.colours, result.shape)
    return f"{title:22}" + "".join(f"{f:12.1%}" for f in figures) + f"{seconds:12.2f}"


def _print_marks(title: str, columns: Mapping[str, Marks]) -> None:
    print(f"{title:44}" + "".join(f"{name:>12}" for name in columns))
    for name in next(iter(columns.values())):
        figures = (column.get(name, float("nan")) for column in columns.values())
        print(f"  {name:42}" + "".join(f"{figure:12.3f}" for figure in figures), flush=True)


def _report_likeness(pictures: Sequence[Image.Image], references: Sequence[Image.Image]) -> None:
    pair = to_tensor(pictures).numpy(), to_tensor(references).numpy()
    light, true_light = (images.mean((1, 2, 3)) for images in pair)
    print(f"  8-bit to full, PSNR: {_describe(psnr(*pair), 'dB')}")
    print(f"  8-bit to full, SSIM: {_describe(ssim(*pair))}")
    difference = abs(light - true_light) / true_light
    print(f"  8-bit to full, difference of luminosity: {_describe(difference)}", flush=True)


def _quantize(*models: torch.nn.Module) -> None:
    for model in models:
        quantize(model, weights=qint8)
        freeze(model)


def _describe(values: Floats | Tensor, unit: str = "") -> str:
    values = np.asarray(values)
    return (
        f"median {np.median(values):.3f} {unit} mean {values.mean():.3f} {unit} "
        f"lowest {values.min():.3f} {unit}"
    ).strip()


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
