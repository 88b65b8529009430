"""The FLUX.1 tools as data: which repository, which options, which ranges, under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

from bot.errors import RequestError, UnsupportedQuantization
from bot.inference.types import QUANTIZATIONS, SEED_LIMIT, Quantization, Request

Number = TypeVar("Number", int, float)

MAX_PROMPT = 2000
"""Characters. 512 T5 tokens hold about as much; what goes beyond would be cut off silently."""

MAX_COUNT = 4

SIZES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "square": (1024, 1024),
        "portrait": (832, 1216),
        "landscape": (1216, 832),
        "tall": (768, 1344),
        "wide": (1344, 768),
        "small square": (512, 512),
    }
)
"""Width and height in pixels, near one megapixel (but for the small one), multiples of 16."""


@dataclass(frozen=True, slots=True)
class Span(Generic[Number]):
    """An allowed range, both ends included, and the value when none is given."""

    low: Number
    high: Number
    default: Number

    def choose(self, name: str, value: Number | None) -> Number:
        """Return `value`, or the default for None; raise RequestError outside of the range."""
        if value is None:
            return self.default
        if not self.low <= value <= self.high:
            raise RequestError(
                f"`{name}` is {value:.10g}, but it goes from {self.low:.10g} to {self.high:.10g}"
                " here.",
                "Choose a value in between, or leave it out.",
            )
        return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """One FLUX.1 model and the options that its command takes."""

    name: str
    title: str
    repo_id: str
    pipeline: str
    steps: Span[int]
    guidance: Span[float] | None
    max_sequence_length: int


TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        tool.name: tool
        for tool in (
            Tool(
                name="schnell",
                title="FLUX.1 schnell",
                repo_id="black-forest-labs/FLUX.1-schnell",
                pipeline="FluxPipeline",
                steps=Span(1, 12, 4),
                guidance=None,
                max_sequence_length=256,
            ),
            Tool(
                name="dev",
                title="FLUX.1 dev",
                repo_id="black-forest-labs/FLUX.1-dev",
                pipeline="FluxPipeline",
                steps=Span(1, 50, 28),
                guidance=Span(0.0, 10.0, 3.5),
                max_sequence_length=512,
            ),
            Tool(
                name="krea",
                title="FLUX.1 Krea",
                repo_id="black-forest-labs/FLUX.1-Krea-dev",
                pipeline="FluxPipeline",
                steps=Span(1, 50, 28),
                guidance=Span(0.0, 10.0, 4.5),
                max_sequence_length=512,
            ),
        )
    }
)

SHARED_REPO = "black-forest-labs/FLUX.1-schnell"
"""Where T5, CLIP and the autoencoder come from: they are the same in all FLUX.1 models, and here
without the non-commercial licence."""

FamilyName = Literal["flux", "tiny"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A set of weights for the tools: from the hub, or from the folders of the package.

    The sizes of the commands are divided by `size_divisor` and rounded down to multiples of 16.
    """

    name: FamilyName
    folder: Path | None
    size_divisor: int

    def location(self, repo_id: str) -> str:
        """Return what `from_pretrained` takes for a repository: a folder, or the hub's id."""
        return str(self.folder / repo_id.rpartition("/")[2]) if self.folder else repo_id

    def tools(self) -> Mapping[str, Tool]:
        """Return the tools that this family has weights for."""
        if self.folder is None:
            return TOOLS
        return {k: t for k, t in TOOLS.items() if Path(self.location(t.repo_id)).is_dir()}

    def pixels(self, size: str) -> tuple[int, int]:
        """Return width and height of a named size; raise RequestError for an unknown one."""
        if size not in SIZES:
            raise RequestError(f"There is no size `{size}`.", f"Choose one of {', '.join(SIZES)}.")
        width, height = (side // self.size_divisor // 16 * 16 for side in SIZES[size])
        return width, height


FAMILIES: Mapping[FamilyName, Family] = MappingProxyType(
    {
        "flux": Family(name="flux", folder=None, size_divisor=1),
        "tiny": Family(name="tiny", folder=Path(__file__).with_name("tiny"), size_divisor=8),
    }
)


def check_quantization(value: str) -> Quantization:
    """Return `value` as a Quantization; raise UnsupportedQuantization for anything but the two."""
    if value not in QUANTIZATIONS:
        raise UnsupportedQuantization(value)
    return value


def text_to_image(
    family: Family,
    *,
    model: str,
    prompt: str,
    seed: int,
    size: str = "square",
    steps: int | None = None,
    guidance: float | None = None,
    count: int = 1,
    quantization: str = "8-bit",
) -> Request:
    """Return the request of `/generate`; raise RequestError at its first fault."""
    tool = choose_tool(family, model)
    if tool.guidance is None and guidance is not None:
        raise RequestError(
            f"{tool.title} is distilled and takes no `guidance`.", "Leave it out, or choose `dev`."
        )
    width, height = family.pixels(size)
    return Request(
        tool=tool.name,
        prompt=check_prompt(prompt),
        width=width,
        height=height,
        num_inference_steps=tool.steps.choose("steps", steps),
        guidance_scale=tool.guidance.choose("guidance", guidance) if tool.guidance else None,
        seed=Span(0, SEED_LIMIT - 1, 0).choose("seed", seed),
        count=Span(1, MAX_COUNT, 1).choose("count", count),
        quantization=check_quantization(quantization),
    )


def choose_tool(family: Family, name: str) -> Tool:
    """Return a tool of the family; raise RequestError where it has none of that name."""
    tools = family.tools()
    if name not in tools:
        raise RequestError(
            f"There is no model `{name}` here.", f"Choose one of {', '.join(tools)}."
        )
    return tools[name]


def check_prompt(prompt: str) -> str:
    """Return the prompt without white space around it; raise RequestError if empty or too long."""
    prompt = prompt.strip()
    if not prompt:
        raise RequestError("The prompt is empty.", "Say what the picture shall show.")
    if len(prompt) > MAX_PROMPT:
        raise RequestError(
            f"The prompt has {len(prompt)} characters, but the models read at most {MAX_PROMPT}.",
            "Shorten it.",
        )
    return prompt
