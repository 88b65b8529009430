"""FLUX.1's blocks with int8 products: the same sums as diffusers' blocks, in fewer passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.transformers.transformer_flux import (
    FluxSingleTransformerBlock,
    FluxTransformerBlock,
)
from optimum.quanto.nn import QLinear
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from bot.inference.int8_products import Weights, multiply, multiply_one
from bot.inference.int8_rows import modulate, quantize, quantize_activated, rotate

EPS = 1e-6
ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass(slots=True)
class Frame:
    """What the blocks pass on: the words' rows and then the picture's (M, C), changed in place."""

    rows: torch.Tensor
    words: int
    condition: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor


class DoubleBlock:
    """FluxTransformerBlock: words and picture have their own layers and attend to each other."""

    def __init__(self, block: FluxTransformerBlock) -> None:
        attn, words, picture = block.attn, block.ff_context.net, block.ff.net
        self._heads = attn.heads
        self._norms = _stacked(attn.norm_added_q, attn.norm_added_k, attn.norm_q, attn.norm_k)
        self._modulation = _joined([block.norm1_context.linear], [block.norm1.linear])
        self._qkv = _joined(
            [attn.add_q_proj, attn.add_k_proj, attn.add_v_proj], [attn.to_q, attn.to_k, attn.to_v]
        )
        self._out = _joined([attn.to_add_out], [attn.to_out[0]])
        self._widen = _joined([words[0].proj], [picture[0].proj])
        self._narrow = _joined([words[2]], [picture[2]])

    def __call__(self, frame: Frame) -> None:
        x, words = frame.rows, frame.words
        modulation = multiply_one(frame.condition, self._modulation)
        shift, scale, gate, last_shift, last_scale, last_gate = modulation.view(2, 6, -1).unbind(1)
        qkv = x.new_empty((len(x), self._qkv.width))
        multiply(modulate(x, words, shift, scale, EPS), self._qkv, words, qkv)
        seen = quantize(_attend(qkv, self._norms, self._heads, frame))
        multiply(seen, self._out, words, x, gate=gate)
        wide = x.new_empty((len(x), self._widen.width))
        rows = modulate(x, words, last_shift, last_scale, EPS)
        multiply(rows, self._widen, words, wide, gelu_from=0)
        rows = quantize_activated(wide)
        multiply(rows, self._narrow, words, x, gate=last_gate)


class SingleBlock:
    """FluxSingleTransformerBlock: attention and the wide layer side by side, for all rows."""

    def __init__(self, block: FluxSingleTransformerBlock) -> None:
        attn = block.attn
        self._heads = attn.heads
        self._norms = _stacked(attn.norm_q, attn.norm_k)
        self._modulation = _joined([block.norm.linear])
        self._widen = _joined([attn.to_q, attn.to_k, attn.to_v, block.proj_mlp])
        self._narrow = _joined([block.proj_out])

    def __call__(self, frame: Frame) -> None:
        x, words = frame.rows, frame.words
        modulation = multiply_one(frame.condition, self._modulation)
        shift, scale, gate = modulation.view(3, 1, -1)
        qkv = 3 * x.shape[1]
        wide = x.new_empty((len(x), self._widen.width))
        rows = modulate(x, words, shift, scale, EPS)
        multiply(rows, self._widen, words, wide, gelu_from=qkv)
        seen = _attend(wide[:, :qkv], self._norms, self._heads, frame)
        rows = quantize_activated(wide[:, qkv:], seen)
        multiply(rows, self._narrow, words, x, gate=gate)


def _joined(*sides: list[QLinear]) -> Weights:
    """Return layers that read the same rows as one, the words' before the picture's.

    The layers' own weights become views of it.
    """
    layers = [layer for side in sides for layer in side]
    values = _in_one_piece([layer.weight._data for layer in layers])
    start = 0
    for layer in layers:
        stop = start + layer.out_features
        layer.weight._data = values[start:stop]
        start = stop
    scale = torch.cat([layer.weight._scale.flatten() for layer in layers])
    biases = [
        scale.new_zeros(layer.out_features) if layer.bias is None else layer.bias
        for layer in layers
    ]
    return Weights(
        values=values,
        scale=scale,
        sums=values.sum(1, dtype=torch.int32).float(),
        bias=torch.cat(biases),
        sides=len(sides),
    )


def _in_one_piece(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Return tensors (N, K) one after the other, copied only where they do not lie so already."""
    first, end = tensors[0], tensors[0].data_ptr()
    for tensor in tensors:
        if tensor.data_ptr() != end:
            return torch.cat(tensors)
        end += tensor.nbytes
    size = (sum(len(tensor) for tensor in tensors), first.shape[1])
    if first.untyped_storage().nbytes() < first.storage_offset() + size[0] * size[1]:
        return torch.cat(tensors)  # neighbours by chance
    return first.as_strided(size, first.stride())


def _stacked(*layers: Any) -> torch.Tensor:
    return torch.stack([layer.weight for layer in layers])


def _attend(qkv: torch.Tensor, norms: torch.Tensor, heads: int, frame: Frame) -> torch.Tensor:
    """Return what all rows see of each other (M, C), of queries, keys and values (M, 3C)."""
    rows, width = len(qkv), qkv.shape[1] // 3
    rotate(qkv[:, : 2 * width], frame.words, norms, frame.cos, frame.sin, EPS)
    query, key, value = (
        part.view(rows, heads, -1).transpose(0, 1)[None] for part in qkv.chunk(3, dim=1)
    )
    with sdpa_kernel(_attention_backends(qkv.device), set_priority=True):
        seen = scaled_dot_product_attention(query, key, value)
    return seen[0].transpose(0, 1).reshape(rows, width)


def _attention_backends(device: torch.device) -> list[SDPBackend]:
    # cuDNN's takes half of flash's time on Hopper, and is not always there or faster before it
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0):
        return [SDPBackend.CUDNN_ATTENTION, *ATTENTION]
    return ATTENTION
