"""This machine's own version of the source's table: each tool in full precision and at 8 bits."""

from __future__ import annotations

import io
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

from bot.inference import requests
from bot.inference.benchmark_report import RANDOM_WEIGHTS, Measured, Pair, Report, write
from bot.inference.comparison import Comparison, Form
from bot.inference.devices import choose_dtype
from bot.inference.engine import Engine
from bot.inference.pictures import luminosity
from bot.inference.pipelines import Pipelines
from bot.inference.protocol import WorkerOptions
from bot.inference.random_weights import RandomParts, full_size_family
from bot.inference.requests import choose_tool
from bot.inference.similarity import Pixels, ssim, to_pixels
from bot.inference.tools import Family, Tool
from bot.inference.types import Quantization, Region, Request, Result
from bot.inference.worker import build_pipelines

PROMPT = "a large red circle on a blue background"
EDIT = "make the circle green"
SEED = 7
LEAST_STEPS = 10

Ask = Callable[[int], Request]
"""A request by its seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to measure; all tools where none is named, and the tool's own steps for None.

    With `random_weights` the full-size models are built on the spot: their speed and memory are
    real, their pictures are noise. With `compare` a step of the first tool is measured in other
    forms too.
    """

    tools: Sequence[str] = ()
    sizes: Sequence[str] = ("square",)
    steps: int | None = None
    runs: int = 3
    random_weights: bool = False
    compare: bool = False


def benchmark(options: WorkerOptions, plan: Plan, out: Path | None) -> None:
    """Measure, print the table as markdown, and write JSON and pictures to `out`.

    Each tool is loaded alone: what is resident and the peak are what the tool itself takes. The
    first picture of a size is not counted. Raise RequestError for an unknown tool or size.
    """
    with tempfile.TemporaryDirectory() as folder:
        pipelines = _build(options, plan, Path(folder))
        family = pipelines.family
        tools = [choose_tool(family, name) for name in plan.tools] or list(family.tools().values())
        for size in plan.sizes:
            family.pixels(size)
        pairs: list[Pair] = []
        for tool in tqdm(tools, desc="benchmark", unit="tool"):
            pairs += _compare(pipelines, tool, plan)
        forms = _forms(pipelines, tools[0], plan) if plan.compare else []
    report = Report(
        device=pairs[0].standard.memory.device,
        software=f"Python {platform.python_version()}, torch {torch.__version__}",
        models=f"flux, {RANDOM_WEIGHTS}" if plan.random_weights else family.name,
        pairs=pairs,
        forms=forms,
    )
    tqdm.write(report.markdown())
    if out is not None:
        write(report, out)


def _build(options: WorkerOptions, plan: Plan, folder: Path) -> Pipelines:
    if not plan.random_weights:
        return build_pipelines(options)
    return build_pipelines(options, family=full_size_family(folder), make_parts=RandomParts)


def _forms(pipelines: Pipelines, tool: Tool, plan: Plan) -> list[Form]:
    """Measure a step of a tool's transformer in several forms."""
    pipelines.drop_all()
    comparison = Comparison(
        parts=pipelines.parts,
        tool=tool,
        device=pipelines.device,
        dtype=choose_dtype(pipelines.device),
        runs=max(plan.runs, LEAST_STEPS),
    )
    sizes = [pipelines.family.pixels(size) for size in plan.sizes]
    return list(tqdm(comparison.measure(sizes), desc=f"a step of {tool.name}", unit="form"))


def _compare(pipelines: Pipelines, tool: Tool, plan: Plan) -> list[Pair]:
    """Measure a tool in both forms and return a pair for each size."""
    standard, eight_bit = (
        _measure(pipelines, tool, quantization, plan) for quantization in ("None", "8-bit")
    )
    return [
        Pair(standard=a, eight_bit=b, ssim=float(ssim(_pixels(a.image), _pixels(b.image))))
        for a, b in zip(standard, eight_bit, strict=True)
    ]


def _measure(
    pipelines: Pipelines, tool: Tool, quantization: Quantization, plan: Plan
) -> list[Measured]:
    """Load a tool alone in one form, and measure it at each size."""
    pipelines.drop_all()
    start = time.perf_counter()
    pipelines.load_all(tool, quantization)
    load_seconds = time.perf_counter() - start
    engine = Engine(pipelines, pipelines.device)
    measured = []
    for size in plan.sizes:
        ask = _question(pipelines.family, tool, size, plan.steps, quantization)
        engine.run(ask(SEED))
        seconds, results = zip(
            *(_timed(engine, ask(SEED + n)) for n in range(plan.runs)), strict=True
        )
        steps = ask(SEED).num_inference_steps
        step_seconds = statistics.median(each.seconds["denoise"] / steps for each in results)
        first = results[0]
        measured.append(
            Measured(
                tool=tool.name,
                quantization=first.quantization,
                fallback_reason=first.fallback_reason,
                size=first.size,
                steps=steps,
                load_seconds=load_seconds,
                seconds=statistics.median(seconds),
                step_seconds=step_seconds,
                memory=first.memory,
                luminosity=luminosity(Image.open(io.BytesIO(first.images[0]))),
                image=first.images[0],
            )
        )
    return measured


def _question(
    family: Family, tool: Tool, size: str, steps: int | None, quantization: Quantization
) -> Ask:
    """Return what to ask a tool for, by seed."""
    image = _source(*family.pixels(size))
    common = requests.Common(steps=steps, quantization=quantization)

    def ask(seed: int) -> Request:
        match tool.command:
            case "generate":
                return requests.text_to_image(
                    family, model=tool.name, prompt=PROMPT, seed=seed, size=size, **common
                )
            case "fill":
                region = Region(area="centre")
                return requests.fill(
                    family, image=image, prompt=PROMPT, seed=seed, region=region, **common
                )
            case "kontext":
                return requests.kontext(family, image=image, prompt=EDIT, seed=seed, **common)
            case "redux":
                return requests.redux(family, images={"image": image}, seed=seed, **common)
            case _:
                control = requests.depth if tool.command == "depth" else requests.canny
                return control(family, image=image, prompt=PROMPT, seed=seed, **common)

    return ask


def _source(width: int, height: int) -> bytes:
    """Return a red circle on blue, as the tools for images are shown it."""
    image = Image.new("RGB", (width, height), (30, 70, 200))
    radius, x, y = min(width, height) // 3, width // 2, height // 2
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), (220, 40, 40))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _timed(engine: Engine, request: Request) -> tuple[float, Result]:
    start = time.perf_counter()
    result = engine.run(request)
    return time.perf_counter() - start, result


def _pixels(png: bytes) -> Pixels:
    return to_pixels(Image.open(io.BytesIO(png)))
