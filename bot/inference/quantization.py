"""Eight-bit weights with optimum-quanto: quantise once, fall back to full precision and say so."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from optimum.quanto import freeze, qint8, quantize
from optimum.quanto.nn import QModuleMixin

from bot.errors import BotError
from bot.inference.memory import weigh
from bot.inference.types import Quantization, Weights
from bot.units import format_bytes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What the weights of a module take, and how they are quantised.

    `failure` is the error for which full precision had to do where 8 bits were asked for. They are
    of the part `name` of `repo_id`; `revision` is the hub's commit, or a hash of the files of a
    built-in model.
    """

    weights: Weights
    quantization: Quantization
    failure: str | None = None
    repo_id: str = ""
    name: str = ""
    revision: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A module ready for use; what is told of it does not hold it in memory."""

    module: torch.nn.Module
    part: Part


def load_quantized(
    name: str,
    load: Callable[[], torch.nn.Module],
    quantization: Quantization,
    fetch: Callable[[], torch.nn.Module] | None = None,
) -> Loaded:
    """Load a module with its linear layers at qint8, unless `quantization` is "None".

    `fetch` returns the quantised module, by default what `load` returns is quantised. When that
    fails the module is loaded in full precision. Weights that come quantised are left as they are.
    """
    if quantization == "None":
        return _in_full_precision(load())
    start = time.perf_counter()
    try:
        module = fetch() if fetch else quantized(load())
    except BotError:
        raise
    except Exception as error:
        # whatever quanto, the compiler or the driver failed with, the job goes on without it
        _log.exception("%s: 8-bit quantisation failed, going on in full precision", name)
        failure = f"{type(error).__name__}: {error}"
    else:
        weights = weigh(module)
        _log.info(
            "%s: %s -> %s at 8 bits (-%.1f %%) in %.1f s",
            name,
            format_bytes(weights.bfloat16),
            format_bytes(weights.actual),
            100 * weights.saved_against("bfloat16"),
            time.perf_counter() - start,
        )
        return Loaded(module=module, part=Part(weights=weights, quantization="8-bit"))
    # outside of the handler, whose traceback would keep the half-quantised module alive
    return _in_full_precision(load(), failure)


def quantized(module: torch.nn.Module) -> torch.nn.Module:
    """Quantise the linear layers of a module in place, unless they are, and return it."""
    if not is_quantized(module):
        quantize(module, weights=qint8)
        freeze(module)
    return module


def is_quantized(module: torch.nn.Module) -> bool:
    """Tell whether any layer of `module` is a quanto layer already."""
    return any(isinstance(m, QModuleMixin) for m in module.modules())


def skeleton(empty: torch.nn.Module) -> torch.nn.Module:
    """Turn the linear layers of a module without weights into layers that await theirs at qint8."""
    quantize(empty, weights=qint8)
    return empty


def expected_bytes(module: torch.nn.Module) -> int:
    """Return what a module without weights will take: a quantised layer one byte a weight.

    The scale of each row comes on top, and quanto's two scales of activations, which stay 1.
    """
    total = weigh(module).actual
    for layer in module.modules():
        if isinstance(layer, QModuleMixin):
            weight = layer.weight
            total -= weight.numel() * (weight.element_size() - 1)
            total += weight.shape[0] * weight.element_size()
    return total


def _in_full_precision(module: torch.nn.Module, failure: str | None = None) -> Loaded:
    part = Part(weights=weigh(module), quantization="None", failure=failure)
    return Loaded(module=module, part=part)
