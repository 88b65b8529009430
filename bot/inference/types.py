"""What crosses the seam between the bot and the models: plain frozen data, no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from bot.i18n import ENGLISH

Quantization = Literal["8-bit", "None"]
QUANTIZATIONS: tuple[Quantization, ...] = ("8-bit", "None")
Int8Kernel = Literal["auto", "quanto", "fused"]
INT8_KERNELS: tuple[Int8Kernel, ...] = ("auto", "quanto", "fused")
"""How transformers at 8 bits compute: in 8 bits where that can be, never, or with a warning where
it cannot."""

Stage = Literal["load", "annotate", "encode", "denoise", "decode"]
STAGES: tuple[Stage, ...] = ("load", "annotate", "encode", "denoise", "decode")

Adjustment = Literal["grow", "shrink", "feather", "invert"]
ADJUSTMENTS: tuple[Adjustment, ...] = ("grow", "shrink", "feather", "invert")

AROUND_WORDS: tuple[Adjustment, ...] = ("grow", "feather")
"""What is made to the mask of words to begin with: it follows the object exactly, and what is
painted there need not have its outline."""

Varied = Literal["steps", "guidance", "seed", "model", "quantization"]
VARIED: tuple[Varied, ...] = ("steps", "guidance", "seed", "model", "quantization")

SEED_LIMIT = 2**32


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """Which part of a picture `/fill` repaints, beside what a mask says.

    It has an `area`, or `words` for what is to be found in the picture, whose mask is among the
    images of a request as soon as it is. `left`, `right`, `top` and `bottom` grow the picture, in
    percent of its own side. The adjustments are made to the mask one after the other.
    """

    area: str | None = None
    words: str | None = field(default=None, repr=False)
    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0
    adjustments: tuple[Adjustment, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """One option of a request that is varied, and its values, each of which makes a picture.

    Where models are varied, `steps` and `guidance` are those of each.
    """

    option: Varied
    values: tuple[int | float | str, ...]
    steps: tuple[int, ...] = ()
    guidance: tuple[float | None, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One order to a tool, its values already checked against the tool's ranges.

    `height` and `width` are pixels, multiples of 16; None, both of them, is "like the first image".
    `guidance_scale` is None for distilled models. Picture `i` of `count` is drawn from seed
    `(seed + i) % 2**32`, so each can be had again alone.

    `images` are files as members attached them, not decoded yet, under the names of the options.
    `region` is `/fill`'s, `low` and `high` are `/canny`'s thresholds (1 to 255), `strength` is the
    weight (0 to 1) of the images' embedding in `/redux`.

    A picture that takes after an image is painted with about `max_pixels` pixels at most, and with
    as many as the family allows where that is None. With `classify` the pictures are looked at for
    what is not for everyone, and there are no previews, at which nothing has looked. What is said
    of the work is said in `language`.

    With a `sweep` it stands for several requests, one for each value; what it says besides holds
    for the first of them.
    """

    tool: str
    prompt: str = field(repr=False)
    height: int | None = None
    width: int | None = None
    num_inference_steps: int
    guidance_scale: float | None
    seed: int
    count: int = 1
    quantization: Quantization = "8-bit"
    images: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    region: Region | None = None
    low: int | None = None
    high: int | None = None
    strength: float | None = None
    max_pixels: int | None = None
    classify: bool = False
    language: str = ENGLISH
    sweep: Sweep | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each picture."""
        if self.sweep is None:
            return tuple((self.seed + i) % SEED_LIMIT for i in range(self.count))
        if self.sweep.option == "seed":
            return tuple(map(int, self.sweep.values))
        return (self.seed,) * self.cells

    @property
    def cells(self) -> int:
        """As how many requests it counts: each value of a sweep is one."""
        return 1 if self.sweep is None else len(self.sweep.values)

    def options(self) -> dict[str, Any]:
        """Return all but the images, as plain values that JSON can hold."""
        values = asdict(replace(self, images={}))
        del values["images"]
        return values

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Request:
        """Return the request of such values, without its images.

        What is missing, as in those of earlier versions, has its default; what is unknown is a
        TypeError.
        """
        region, sweep = options.get("region"), options.get("sweep")
        if region is not None:
            region = Region(**region | {"adjustments": tuple(region.get("adjustments", ()))})
        if sweep is not None:
            lists = {name: tuple(sweep.get(name, ())) for name in ("values", "steps", "guidance")}
            sweep = Sweep(**sweep | lists)
        return cls(**{**options, "region": region, "sweep": sweep})


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """The job waits; `position` 1 is next.

    `seconds` are those that it will wait as things stand, None where nothing is known yet. It has
    `moved` if its member was told of another place before, and if the bot is `restarting` it goes
    on after that.
    """

    position: int
    seconds: float | None = None
    moved: bool = False
    restarting: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The job is in `stage`, has done `step` of `total` there, and spent `seconds` there so far.

    `preview` is a small picture of what the model has in mind, as WebP bytes, where there is one.
    """

    stage: Stage
    step: int = 0
    total: int = 0
    seconds: float = 0.0
    preview: bytes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Bytes of the weights that a job used: as they are, and as they would be at 16 and 32 bits."""

    actual: int
    bfloat16: int
    float32: int

    def saved_against(self, reference: Literal["bfloat16", "float32"]) -> float:
        """Return the share of `reference` that is saved, from 0 to 1 (negative: not saved)."""
        full: int = getattr(self, reference)
        return 1 - self.actual / full if full else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryStats:
    """Memory in bytes, as measured on the device in the course of one job.

    On CUDA `peak`, `allocated` and `reserved` are those of PyTorch's allocator, and the peak is
    that of this job alone. On the CPU, `peak` and `allocated` are the resident set of the process.
    `resident` is what all weights take that are kept on the device for the next job.
    """

    device: str
    peak: int
    resident: int
    allocated: int
    reserved: int | None
    free: int
    total: int
    weights: Weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """One part of a model that is in memory, on the device or beside it."""

    repo_id: str
    part: str
    quantization: Quantization
    on_device: bool
    weights: Weights


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceMemory:
    """What a device holds now; sizes in bytes, the least recently used holding first.

    `budget` is what weights may take on the device, `host_budget` beside it.
    """

    device: str
    free: int
    total: int
    budget: int
    host_budget: int
    holdings: tuple[Holding, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One picture of a sweep, and what it took, as it was measured.

    `label` is the value that was varied. `peak` and `weights` are bytes: those of the device at
    most, and of all weights that were used. `quantization` is the one that was used; where it is
    not the one asked for, `fallback_reason` says why. `ssim` is its likeness to the first picture,
    where they were to be compared.
    """

    label: str
    seed: int
    seconds: Mapping[str, float]
    peak: int
    weights: int
    quantization: Quantization
    fallback_reason: str | None = None
    ssim: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The pictures of a request as PNG bytes, and how they came about.

    `size` is their width and height in pixels. `control_image` is the depth map or the edges that
    they follow, as small WebP bytes. `quantization` is the one that was used; where it is not the
    one asked for, `fallback_reason` says why. `seconds` has one entry a stage, and `wait` for the
    time in the queue; a stage in `reused` was not done again, for its outcome was kept.

    `made_with` says why the same request may give another picture elsewhere: the `model`, the
    `revision` of its transformer, the `kernel` that multiplied its weights at 8 bits ("fused",
    "quanto" or "none"), `dtype`, `device`, and the versions of the libraries by their names.
    `unsafe` is how probably (0 to 1) each picture is not for everyone, empty where nobody asked.
    `cells` are the pictures of a sweep, one by one.
    """

    images: tuple[bytes, ...]
    seeds: tuple[int, ...]
    size: tuple[int, int]
    seconds: Mapping[str, float]
    memory: MemoryStats
    quantization: Quantization
    control_image: bytes | None = field(default=None, repr=False)
    fallback_reason: str | None = None
    reused: tuple[Stage, ...] = ()
    notes: tuple[str, ...] = ()
    made_with: Mapping[str, str] = field(default_factory=dict)
    unsafe: tuple[float, ...] = ()
    cells: tuple[Cell, ...] = ()


Event = Queued | Progress | Result
