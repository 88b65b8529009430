"""One step of a transformer in several forms, in one run: ours, quanto's, bfloat16 and others'."""

from __future__ import annotations

import gc
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from bot.inference.int8 import Int8Transformer, obstacle
from bot.inference.memory import weigh
from bot.inference.parts import Key, Parts
from bot.inference.tools import Tool

_log = logging.getLogger(__name__)

WORDS = 512
"""Tokens of a prompt."""
SEED = 7
OURS = "8-bit, as the bot computes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """A step of one form at one size: median of the runs, weights in bytes.

    `error` is the norm of the difference to the standard's output, by the norm of that. Where
    `failure` says why, there are no figures.
    """

    name: str
    size: tuple[int, int]
    seconds: float = 0.0
    weights: int = 0
    error: float = 0.0
    failure: str | None = None


@dataclass(slots=True)
class Comparison:
    """Measures the forms of one tool's transformer, one after the other."""

    parts: Parts
    tool: Tool
    device: torch.device
    dtype: torch.dtype
    runs: int

    def measure(self, sizes: list[tuple[int, int]]) -> Iterator[Form]:
        """Yield each form at each size of pixels; the standard comes first."""
        standard: dict[tuple[int, int], torch.Tensor] = {}
        for name, build in self._forms():
            try:
                yield from self._measure_at(sizes, name, build, standard)
            except Exception as error:
                _log.exception("%s could not be measured", name)
                failure = f"{type(error).__name__}: {error}".splitlines()[0]
                yield Form(name=name, size=sizes[0], failure=failure)
            torch._dynamo.reset()
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _measure_at(
        self,
        sizes: list[tuple[int, int]],
        name: str,
        build: Callable[[], torch.nn.Module],
        standard: dict[tuple[int, int], torch.Tensor],
    ) -> Iterator[Form]:
        module = build()
        for size in sizes:
            yield self._measure(name, module, size, standard)

    def _forms(self) -> Iterator[tuple[str, Callable[[], torch.nn.Module]]]:
        yield "standard", self._standard
        if self.device.type == "cuda":
            yield "standard, compiled", lambda: _compile(self._standard())
        yield "quanto qint8", self._quanto
        yield OURS, self._ours
        if find_spec("sdnq") is not None:
            yield "SDNQ int8, compiled", self._sdnq
        if find_spec("torchao") is not None:
            yield "torchao int8, compiled", self._torchao

    def _standard(self) -> torch.nn.Module:
        key = Key(self.tool.transformer_repo_id, "transformer", "None")
        return self.parts.load(key).module

    def _quanto(self) -> torch.nn.Module:
        key = Key(self.tool.transformer_repo_id, "transformer", "8-bit")
        return self.parts.load(key).module

    def _ours(self) -> torch.nn.Module:
        module = self._quanto()
        if obstacle(module, self.device) is None:
            Int8Transformer(module).attach()
        return module

    def _sdnq(self) -> torch.nn.Module:
        from sdnq import sdnq_post_load_quant

        module: torch.nn.Module = sdnq_post_load_quant(
            self._standard(),
            weights_dtype="int8",
            use_quantized_matmul=True,
            torch_dtype=self.dtype,
            quantization_device=self.device,
            return_device=self.device,
        )
        return _compile(module)

    def _torchao(self) -> torch.nn.Module:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        module = self._standard()
        quantize_(module, Int8DynamicActivationInt8WeightConfig())
        return _compile(module)

    @torch.inference_mode()
    def _measure(
        self,
        name: str,
        module: torch.nn.Module,
        size: tuple[int, int],
        standard: dict[tuple[int, int], torch.Tensor],
    ) -> Form:
        inputs = self._inputs(module, *size)
        output = module(**inputs, return_dict=False)[0].float()
        reference = standard.setdefault(size, output)
        for _ in range(2):  # ours records the second
            module(**inputs, return_dict=False)
        seconds = statistics.median(self._time(module, inputs) for _ in range(self.runs))
        return Form(
            name=name,
            size=size,
            seconds=seconds,
            weights=weigh(module).actual,
            error=float((output - reference).norm() / reference.norm()),
        )

    def _time(self, module: torch.nn.Module, inputs: dict[str, Any]) -> float:
        _wait(self.device)
        start = time.perf_counter()
        module(**inputs, return_dict=False)
        _wait(self.device)
        return time.perf_counter() - start

    def _inputs(self, module: Any, width: int, height: int) -> dict[str, Any]:
        """Return noise for everything that a step reads."""
        generator = torch.Generator(self.device).manual_seed(SEED)
        config, columns, rows = module.config, width // 16, height // 16

        def noise(*shape: int) -> torch.Tensor:
            values = torch.randn(shape, generator=generator, device=self.device)
            return values.to(self.dtype)

        ids = torch.zeros(rows, columns, 3, device=self.device)
        ids[..., 1] = torch.arange(rows, device=self.device)[:, None]
        ids[..., 2] = torch.arange(columns, device=self.device)[None, :]
        return {
            "hidden_states": noise(1, rows * columns, config.in_channels),
            "encoder_hidden_states": noise(1, WORDS, config.joint_attention_dim),
            "pooled_projections": noise(1, config.pooled_projection_dim),
            "timestep": torch.full((1,), 0.7, device=self.device, dtype=self.dtype),
            "img_ids": ids.flatten(0, 1),
            "txt_ids": torch.zeros(WORDS, 3, device=self.device),
            "guidance": torch.full((1,), 3.5, device=self.device)
            if config.guidance_embeds
            else None,
        }


def _compile(module: Any) -> torch.nn.Module:
    module.compile_repeated_blocks(fullgraph=True, dynamic=False)
    compiled: torch.nn.Module = module
    return compiled


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
