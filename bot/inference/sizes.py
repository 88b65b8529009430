"""What the full models take, in bytes, as measured (docs/performance.md), and so what fits where.

They are the same for all tools: these share their architecture and all parts but the transformer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bot.inference.types import QUANTIZATIONS, Quantization
from bot.units import format_bytes

GB = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Weights at one quantization: a transformer, T5, and all that a tool needs together."""

    transformer: int
    text_encoder: int
    together: int


SIZES: Mapping[Quantization, Sizes] = MappingProxyType(
    {
        "8-bit": Sizes(
            transformer=int(11.9 * GB), text_encoder=int(4.9 * GB), together=int(17.2 * GB)
        ),
        "None": Sizes(
            transformer=int(23.8 * GB), text_encoder=int(9.5 * GB), together=int(33.7 * GB)
        ),
    }
)

AUTOENCODER = int(0.17 * GB)
"""What is on the device beside a transformer where a tool is shown an image."""

PICTURES: Mapping[str, int] = MappingProxyType(
    {"all sizes": int(2.7 * GB), "small square only": int(0.8 * GB)}
)
"""What a picture takes above the weights, by the sizes that are possible then, largest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """A device as PyTorch sees it; memory in bytes, `budget` is what may be weights.

    `kernel_obstacle` is why the kernels for 8 bits do not work there, if they do not.
    """

    torch: str
    type: str
    name: str
    capability: tuple[int, int] | None
    free: int
    total: int
    budget: int
    kernel_obstacle: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How one quantization fits a device: `sizes` is None where it does not."""

    quantization: Quantization
    sizes: str | None
    together: bool

    def __str__(self) -> str:
        if self.sizes is None:
            return f"{self.quantization}: nothing (needs {format_bytes(least(self.quantization))})"
        how = "weights stay" if self.together else "parts take turns"
        return f"{self.quantization}: all tools, {self.sizes}, {how}"


def least(quantization: Quantization) -> int:
    """Return the weights that must be on the device at once, in bytes."""
    return SIZES[quantization].transformer + AUTOENCODER


def fits(total: int, budget: int) -> list[Fit]:
    """Return how the quantizations fit a device of `total` bytes with a `budget` for weights."""
    return [_fit(each, total, budget) for each in QUANTIZATIONS]


def _fit(quantization: Quantization, total: int, budget: int) -> Fit:
    needed, together = least(quantization), SIZES[quantization].together
    sizes = None
    if needed <= budget:
        sizes = next((name for name, more in PICTURES.items() if needed + more <= total), None)
    stays = together <= budget and together + PICTURES["all sizes"] <= total
    return Fit(quantization=quantization, sizes=sizes, together=sizes is not None and stays)
