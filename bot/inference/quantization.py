"""Eight-bit weights with optimum-quanto: quantise once, fall back to full precision and say so."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from optimum.quanto import freeze, qint8, quantize
from optimum.quanto.nn import QModuleMixin

from bot.inference.memory import weigh
from bot.inference.types import Quantization, Weights
from bot.units import format_bytes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What the weights of a module take, and how they are quantised.

    `fallback_reason` is set where 8 bits were asked for and full precision had to do.
    """

    weights: Weights
    quantization: Quantization
    fallback_reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A module ready for use; what is told of it does not hold it in memory."""

    module: torch.nn.Module
    part: Part


def load_quantized(
    name: str, load: Callable[[], torch.nn.Module], quantization: Quantization
) -> Loaded:
    """Load a module and quantise its linear layers to qint8, unless `quantization` is "None".

    Quantising works in place, so after a failure the module is loaded a second time, in full
    precision. Weights that come quantised are left as they are.
    """
    module = load()
    if quantization == "None":
        return Loaded(module=module, part=Part(weights=weigh(module), quantization="None"))
    if is_quantized(module):
        return Loaded(module=module, part=Part(weights=weigh(module), quantization="8-bit"))
    before, start = weigh(module), time.perf_counter()
    try:
        quantize(module, weights=qint8)
        freeze(module)
    except Exception as error:
        # whatever quanto, the compiler or the driver failed with, the job goes on without it
        _log.exception("%s: 8-bit quantisation failed, going on in full precision", name)
        del module
        module = load()
        part = Part(
            weights=weigh(module),
            quantization="None",
            fallback_reason=f"quantising {name} failed ({type(error).__name__}: {error})",
        )
        return Loaded(module=module, part=part)
    after = weigh(module)
    _log.info(
        "%s: %s -> %s at 8 bits (-%.1f %%) in %.1f s",
        name,
        format_bytes(before.actual),
        format_bytes(after.actual),
        100 * (1 - after.actual / before.actual),
        time.perf_counter() - start,
    )
    return Loaded(module=module, part=Part(weights=after, quantization="8-bit"))


def is_quantized(module: torch.nn.Module) -> bool:
    """Tell whether any layer of `module` is a quanto layer already."""
    return any(isinstance(m, QModuleMixin) for m in module.modules())
