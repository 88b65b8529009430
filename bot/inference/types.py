"""What crosses the seam between the bot and the models: plain frozen data, no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Quantization = Literal["8-bit", "None"]
QUANTIZATIONS: tuple[Quantization, ...] = ("8-bit", "None")

Stage = Literal["load", "encode", "denoise", "decode"]
STAGES: tuple[Stage, ...] = ("load", "encode", "denoise", "decode")

SEED_LIMIT = 2**32


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One order to a tool, its values already checked against the tool's ranges.

    `height` and `width` are pixels, multiples of 16. `guidance_scale` is None for distilled models.
    Picture `i` of `count` is drawn from seed `(seed + i) % 2**32`, so each can be had again alone.
    """

    tool: str
    prompt: str
    height: int
    width: int
    num_inference_steps: int
    guidance_scale: float | None
    seed: int
    count: int = 1
    quantization: Quantization = "8-bit"

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each picture."""
        return tuple((self.seed + i) % SEED_LIMIT for i in range(self.count))


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """The job waits; `position` 1 is next."""

    position: int


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
class Result:
    """The pictures of a request as PNG bytes, and how they came about.

    `quantization` is the one that was used; where it is not the one asked for, `fallback_reason`
    says why. `seconds` has one entry a stage, and `wait` for the time in the queue.
    """

    images: tuple[bytes, ...]
    seeds: tuple[int, ...]
    seconds: Mapping[str, float]
    memory: MemoryStats
    quantization: Quantization
    fallback_reason: str | None = None
    notes: tuple[str, ...] = field(default=())


Event = Queued | Progress | Result
