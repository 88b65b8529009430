"""The FLUX.1 tools as data: which repository, which options, which ranges, under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

from bot.errors import RequestError
from bot.i18n import _, number

Number = TypeVar("Number", int, float)

LARGE = 1e12
"""What no option comes near to."""

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
                _(
                    "`{name}` is {value}, but it goes from {low} to {high} here.",
                    name=name,
                    # the language has no way to write what is not finite, or has 300 digits
                    value=number(value) if abs(value) < LARGE else f"{value:.10g}",
                    low=number(self.low),
                    high=number(self.high),
                ),
                _("Choose a value in between, or leave it out."),
            )
        return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """One FLUX.1 model and the options that its command takes.

    `pipeline` is diffusers' class for it. `base_repo_id` is where its transformer comes from, if
    not from its own repository. The `licence` is that of the weights there.
    """

    name: str
    command: str
    title: str
    repo_id: str
    pipeline: str
    steps: Span[int]
    guidance: Span[float] | None
    max_sequence_length: int = 512
    licence: str = "FLUX.1-dev non-commercial"
    base_repo_id: str | None = None

    @property
    def transformer_repo_id(self) -> str:
        """The repository of the transformer."""
        return self.base_repo_id or self.repo_id


TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        tool.name: tool
        for tool in (
            Tool(
                name="schnell",
                command="generate",
                title="FLUX.1 schnell",
                repo_id="black-forest-labs/FLUX.1-schnell",
                pipeline="FluxPipeline",
                steps=Span(1, 12, 4),
                guidance=None,
                max_sequence_length=256,
                licence="Apache-2.0",
            ),
            Tool(
                name="dev",
                command="generate",
                title="FLUX.1 dev",
                repo_id="black-forest-labs/FLUX.1-dev",
                pipeline="FluxPipeline",
                steps=Span(1, 50, 28),
                guidance=Span(0.0, 10.0, 3.5),
            ),
            Tool(
                name="krea",
                command="generate",
                title="FLUX.1 Krea",
                repo_id="black-forest-labs/FLUX.1-Krea-dev",
                pipeline="FluxPipeline",
                steps=Span(1, 50, 28),
                guidance=Span(0.0, 10.0, 4.5),
            ),
            Tool(
                name="fill",
                command="fill",
                title="FLUX.1 Fill",
                repo_id="black-forest-labs/FLUX.1-Fill-dev",
                pipeline="FluxFillPipeline",
                steps=Span(1, 50, 30),
                guidance=Span(1.0, 50.0, 30.0),
            ),
            Tool(
                name="kontext",
                command="kontext",
                title="FLUX.1 Kontext",
                repo_id="black-forest-labs/FLUX.1-Kontext-dev",
                pipeline="FluxKontextPipeline",
                steps=Span(1, 50, 28),
                guidance=Span(1.0, 10.0, 2.5),
            ),
            Tool(
                name="depth",
                command="depth",
                title="FLUX.1 Depth",
                repo_id="black-forest-labs/FLUX.1-Depth-dev",
                pipeline="FluxControlPipeline",
                steps=Span(1, 50, 30),
                guidance=Span(1.0, 50.0, 10.0),
            ),
            Tool(
                name="canny",
                command="canny",
                title="FLUX.1 Canny",
                repo_id="black-forest-labs/FLUX.1-Canny-dev",
                pipeline="FluxControlPipeline",
                steps=Span(1, 50, 30),
                guidance=Span(1.0, 50.0, 30.0),
            ),
            Tool(
                name="redux",
                command="redux",
                title="FLUX.1 Redux",
                repo_id="black-forest-labs/FLUX.1-Redux-dev",
                pipeline="FluxPipeline",
                steps=Span(1, 50, 28),
                guidance=Span(1.0, 10.0, 2.5),
                base_repo_id="black-forest-labs/FLUX.1-dev",
            ),
        )
    }
)

SHARED_REPO = "black-forest-labs/FLUX.1-schnell"
"""Where T5, CLIP and the autoencoder come from: they are the same in all FLUX.1 models, and here
without the non-commercial licence."""

DEPTH_REPO = "depth-anything/Depth-Anything-V2-Small-hf"
"""What tells near from far in a photo, under Apache-2.0; its larger siblings are non-commercial."""

SEGMENTER_REPO = "CIDAS/clipseg-rd64-refined"
"""What finds in a picture what words name, under Apache-2.0 by its page on the hub."""

UNSAFE_LABELS = ("nsfw", "porn", "hentai", "sexy", "unsafe")
"""What classifiers of pictures call those that are not for everyone."""

FamilyName = Literal["flux", "tiny"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A set of weights for the tools: from the hub, or from the folders of the package.

    The sizes of the commands are divided by `size_divisor` and rounded down to multiples of 16. In
    the `catalogue` are the tools with their ranges and defaults, as they are offered. All weights
    have the `licence`, or each tool's have its own.
    """

    name: FamilyName
    folder: Path | None
    size_divisor: int
    licence: str | None = None
    catalogue: Mapping[str, Tool] = field(default_factory=lambda: TOOLS, repr=False, hash=False)

    def location(self, repo_id: str) -> str:
        """Return what `from_pretrained` takes for a repository: a folder, or the hub's id."""
        return str(self.folder / repo_id.rpartition("/")[2]) if self.folder else repo_id

    @property
    def area(self) -> int:
        """The pixels of a picture that takes after an image: one megapixel for the full models."""
        return (1024 // self.size_divisor) ** 2

    def tools(self, command: str | None = None) -> Mapping[str, Tool]:
        """Return the tools that this family has weights for, those of one command or all."""
        return {
            name: tool
            for name, tool in self.catalogue.items()
            if command in (None, tool.command) and self._has(tool)
        }

    def _has(self, tool: Tool) -> bool:
        repo_ids = (tool.repo_id, tool.transformer_repo_id)
        return self.folder is None or all(Path(self.location(r)).is_dir() for r in repo_ids)

    def pixels(self, size: str) -> tuple[int, int]:
        """Return width and height of a named size; raise RequestError for an unknown one."""
        if size not in SIZES:
            raise RequestError(
                _("There is no size `{size}`.", size=size),
                _("Choose one of {sizes}.", sizes=", ".join(SIZES)),
            )
        width, height = (side // self.size_divisor // 16 * 16 for side in SIZES[size])
        return width, height


FAMILIES: Mapping[FamilyName, Family] = MappingProxyType(
    {
        "flux": Family(name="flux", folder=None, size_divisor=1),
        "tiny": Family(
            name="tiny", folder=Path(__file__).with_name("tiny"), size_divisor=8, licence="MIT"
        ),
    }
)
