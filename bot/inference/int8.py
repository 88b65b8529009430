"""FLUX.1's transformer at 8 bits, computed in 8 bits: quanto's own weights on int8 tensor cores.

quanto turns its weights back into bfloat16 for every product, which costs more time than it saves.
Here the activations become int8 too, one scale a token (Dettmers et al. 2022), and Triton kernels
do what lies between the products in one pass each; a step's few hundred launches are replayed as a
CUDA graph. Nothing is compiled for a picture's size. Where this cannot run, quanto's own way does.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from optimum.quanto.nn import QLinear
from torch.nn.functional import silu

if TYPE_CHECKING:
    from bot.inference.int8_blocks import Frame

_log = logging.getLogger(__name__)

OLDEST = (8, 0)
"""Compute capability from which on GPUs multiply int8 as these kernels do."""
GRAPHS = 4
"""Sizes of pictures whose launches are kept; the least recently used makes room."""


def obstacle(module: torch.nn.Module, device: torch.device) -> str | None:
    """Return why a module on a device cannot be computed in 8 bits, or None if it can."""
    if not isinstance(module, FluxTransformer2DModel):
        return "it is no transformer of FLUX.1"
    if (reason := device_obstacle(device)) is not None:
        return reason
    block = module.transformer_blocks[0]
    if not isinstance(block.attn.to_q, QLinear):
        return "its weights are not at 8 bits"
    return None


def device_obstacle(device: torch.device) -> str | None:
    """Return why nothing on a device can be computed in 8 bits, or None if it can."""
    if device.type != "cuda" or torch.version.hip:
        return "it is not on an NVIDIA GPU"
    if torch.cuda.get_device_capability(device) < OLDEST:
        return "the GPU is older than compute capability 8.0"
    if find_spec("triton") is None:
        return "Triton is not installed"
    return None


class Int8Transformer:
    """Stands in for a quantised transformer's `forward`, and gives way to it where it fails.

    Layers that read the same rows get their weights in one piece, of which quanto's are then views:
    the module can still be used, moved and saved. After it moved, `attach` again.
    """

    def __init__(self, transformer: FluxTransformer2DModel) -> None:
        self._transformer = transformer
        self._forward = type(transformer).forward
        self._graphs: OrderedDict[tuple[Any, ...], _Graph] = OrderedDict()
        self._blocks: list[Callable[[Frame], None]] = []
        self._positions: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self.failure: str | None = None

    def attach(self) -> None:
        """Take over the transformer, whose weights are on the GPU."""
        if self.failure is not None:
            return
        # not before it is known that there is Triton
        from bot.inference.int8_blocks import DoubleBlock, SingleBlock

        self._blocks = [
            *map(DoubleBlock, self._transformer.transformer_blocks),
            *map(SingleBlock, self._transformer.single_transformer_blocks),
        ]
        self._transformer.forward = self

    def release(self) -> None:
        """Give the transformer back, and the memory of what was recorded."""
        self._graphs.clear()
        self._blocks, self._positions = [], None
        self._transformer.__dict__.pop("forward", None)

    def __call__(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        pooled_projections: torch.Tensor,
        timestep: torch.Tensor,
        img_ids: torch.Tensor,
        txt_ids: torch.Tensor,
        guidance: torch.Tensor | None = None,
        joint_attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Predict the velocity as FluxTransformer2DModel.forward does, of one picture."""
        if self.failure is None and len(hidden_states) == 1 and not joint_attention_kwargs:
            cos, sin = self._turns(txt_ids, img_ids)
            inputs = _Inputs(
                hidden_states,
                encoder_hidden_states,
                pooled_projections,
                timestep,
                cos,
                sin,
                guidance,
            )
            try:
                sample = self._replay(inputs)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                # whatever Triton, the driver or the capture failed with, quanto goes on
                _log.exception("computing in 8 bits failed, going on with quanto's own way")
                self.release()
                self.failure = f"{type(error).__name__}: {error}"
            else:
                return Transformer2DModelOutput(sample) if return_dict else (sample,)
        return self._forward(
            self._transformer,
            hidden_states=hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            pooled_projections=pooled_projections,
            timestep=timestep,
            img_ids=img_ids,
            txt_ids=txt_ids,
            guidance=guidance,
            joint_attention_kwargs=joint_attention_kwargs,
            return_dict=return_dict,
        )

    def _turns(
        self, txt_ids: torch.Tensor, img_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines of all positions; a pipeline's steps share their ids."""
        if self._positions is None or self._positions[0] is not img_ids:
            cos, sin = self._transformer.pos_embed(torch.cat((txt_ids, img_ids)))
            self._positions = (img_ids, cos[:, ::2].contiguous(), sin[:, ::2].contiguous())
        return self._positions[1:]

    def _replay(self, inputs: _Inputs) -> torch.Tensor:
        """Run the first step of a new size as it is, record the second, replay from then on."""
        if self._transformer.device.type != "cuda":
            return self._predict(inputs)
        key = inputs.shapes
        if key not in self._graphs:
            if len(self._graphs) == GRAPHS:
                self._graphs.popitem(last=False)
            self._graphs[key] = _Graph(self._predict)
        self._graphs.move_to_end(key)
        return self._graphs[key](inputs)

    def _predict(self, inputs: _Inputs) -> torch.Tensor:
        from bot.inference.int8_blocks import Frame

        model = self._transformer
        image, text = model.x_embedder(inputs.hidden_states), inputs.encoder_hidden_states
        times = [time for time in (inputs.timestep, inputs.guidance) if time is not None]
        scaled = [1000 * time.to(image.dtype) for time in times]
        condition = silu(model.time_text_embed(*scaled, inputs.pooled_projections))
        frame = Frame(
            rows=torch.cat((model.context_embedder(text), image), dim=1)[0],
            words=text.shape[1],
            condition=condition[0],
            cos=inputs.cos,
            sin=inputs.sin,
        )
        for block in self._blocks:
            block(frame)
        image = frame.rows[None, frame.words :]
        scale, shift = model.norm_out.linear(condition).chunk(2, dim=1)
        image = model.norm_out.norm(image) * (1 + scale)[:, None] + shift[:, None]
        sample: torch.Tensor = model.proj_out(image)
        return sample


class _Inputs(NamedTuple):
    """What a step is given; `cos` and `sin` (tokens, D/2) stand for the positions."""

    hidden_states: torch.Tensor
    encoder_hidden_states: torch.Tensor
    pooled_projections: torch.Tensor
    timestep: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor
    guidance: torch.Tensor | None

    @property
    def shapes(self) -> tuple[torch.Size, ...]:
        return tuple(tensor.shape for tensor in self if tensor is not None)

    def clone(self) -> _Inputs:
        return _Inputs(*[None if tensor is None else tensor.clone() for tensor in self])  # type: ignore[arg-type]


class _Graph:
    """One function, run as it is the first time, recorded the second time and then replayed."""

    def __init__(self, function: Callable[[_Inputs], torch.Tensor]) -> None:
        self._function = function
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = False

    def __call__(self, inputs: _Inputs) -> torch.Tensor:
        if not self._warm:
            self._warm = True
            return self._function(inputs)
        if self._graph is None:
            self._inputs = inputs.clone()
            graph = torch.cuda.CUDAGraph()
            # another thread may ask for the free memory meanwhile
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._output = self._function(self._inputs)
            self._graph = graph
        for ours, given in zip(self._inputs, inputs, strict=True):
            if ours is not None and given is not None:
                ours.copy_(given)
        self._graph.replay()
        return self._output.clone()
