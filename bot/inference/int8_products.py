"""Triton kernels that multiply 8-bit activations by 8-bit weights.

Weights are quanto's: int8 with one scale a row. Products are summed in int32; scales, offset, bias,
GELU, gate and residual are applied before they are written.

Rows are a prompt's words and then a picture's tokens. Where these have layers of their own, the
weights of both lie one after the other, the words' first, and `words` says how many rows they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from bot.inference.int8_rows import Rows

GROUP_ROWS = 36
"""Tiles of so many rows are computed together, so that weights are read from the cache.

On an H200 a step at 1024×1024 takes 1.3 ms less than with 8.
"""
FEW_ROWS = 1024
"""Up to so many rows the tiles are narrower, so that there are enough for all multiprocessors."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Linear layers: values (sides · N, K) int8, the scale, sum (float32) and bias of each row."""

    values: torch.Tensor
    scale: torch.Tensor
    sums: torch.Tensor
    bias: torch.Tensor
    sides: int = 1

    @property
    def width(self) -> int:
        """How many values the product has: N."""
        return self.values.shape[0] // self.sides


def multiply(
    rows: Rows,
    weights: Weights,
    words: int,
    out: torch.Tensor,
    *,
    gate: torch.Tensor | None = None,
    gelu_from: int | None = None,
) -> None:
    """Write rows · weightsᵀ + bias to `out` (M, N).

    With a `gate` (sides, N) it is multiplied by that and added to what is there. From column
    `gelu_from` on it goes through GELU.
    """
    m, k = rows.values.shape
    n = weights.width
    block_m, block_k = 128, 128
    block_n, warps, stages = (128, 4, 3) if m > FEW_ROWS else (64, 4, 4)
    words = words if weights.sides == 2 else 0
    tiles_m = triton.cdiv(words, block_m) + triton.cdiv(m - words, block_m)
    left: torch.Tensor | TensorDescriptor = rows.values
    right: torch.Tensor | TensorDescriptor = weights.values
    copies_tiles = has_tile_copies(out.device)
    if copies_tiles:
        left = TensorDescriptor.from_tensor(rows.values, [block_m, block_k])
        right = TensorDescriptor.from_tensor(weights.values, [block_n, block_k])
    _multiply_kernel[(tiles_m * triton.cdiv(n, block_n),)](
        left,
        right,
        out,
        rows.scale,
        rows.offset,
        weights.scale,
        weights.sums,
        weights.bias,
        gate,
        m,
        words,
        n,
        k,
        out.stride(0),
        0 if gate is None else gate.stride(0),
        n if gelu_from is None else gelu_from,
        TWO_SIDES=weights.sides == 2,
        HAS_OFFSET=rows.offset is not None,
        HAS_GATE=gate is not None,
        HAS_GELU=gelu_from is not None,
        COPIES_TILES=copies_tiles,
        EVEN_K=k % block_k == 0,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_K=block_k,
        GROUP_M=GROUP_ROWS,
        num_warps=warps,
        num_stages=stages,
    )


def multiply_one(row: torch.Tensor, weights: Weights) -> torch.Tensor:
    """Return the product (N,) of one row (K,) as it is."""
    n, k = weights.values.shape
    out = torch.empty(n, dtype=row.dtype, device=row.device)
    block_n, block_k = 4, 512
    _multiply_one_kernel[(triton.cdiv(n, block_n),)](
        row,
        weights.values,
        out,
        weights.scale,
        weights.bias,
        n,
        k,
        BLOCK_N=block_n,
        BLOCK_K=block_k,
        num_warps=2,
    )
    return out


@cache
def has_tile_copies(device: torch.device) -> bool:
    """Tell whether a GPU copies whole tiles by itself, as Hopper's and later ones do."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)


@triton.jit(do_not_specialize=["m", "words"])
def _multiply_kernel(
    rows,
    weights,
    out,
    row_scale,
    row_offset,
    scale,
    sums,
    bias,
    gate,
    m,
    words,
    n,
    k,
    out_stride,
    gate_stride,
    gelu_from,
    TWO_SIDES: tl.constexpr,
    HAS_OFFSET: tl.constexpr,
    HAS_GATE: tl.constexpr,
    HAS_GELU: tl.constexpr,
    COPIES_TILES: tl.constexpr,
    EVEN_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    number = tl.program_id(0)
    tiles_of_words = tl.cdiv(words, BLOCK_M)
    tiles_m, tiles_n = tiles_of_words + tl.cdiv(m - words, BLOCK_M), tl.cdiv(n, BLOCK_N)
    top = number // (GROUP_M * tiles_n) * GROUP_M
    size = min(tiles_m - top, GROUP_M)
    tile_m = top + number % (GROUP_M * tiles_n) % size
    tile_n = number % (GROUP_M * tiles_n) // size

    # rows and weights of this tile's side: the words' come first
    first, last, side = 0, m, 0
    if TWO_SIDES:
        if tile_m < tiles_of_words:
            last = words
        else:
            first, side = words - tiles_of_words * BLOCK_M, 1
    i = first + tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    j = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    in_m, in_n = i < last, j < n
    of_side = side * n + j
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.int32)
    if COPIES_TILES:
        for start in range(0, k, BLOCK_K):
            x = rows.load([first + tile_m * BLOCK_M, start])
            w = weights.load([side * n + tile_n * BLOCK_N, start])
            total = tl.dot(x, w.T, total, out_dtype=tl.int32)
    else:
        inner = tl.arange(0, BLOCK_K)
        x_pointers = rows + tl.where(in_m, i, 0)[:, None].to(tl.int64) * k + inner[None, :]
        w_pointers = weights + tl.where(in_n, of_side, 0)[None, :].to(tl.int64) * k + inner[:, None]
        for start in range(0, k, BLOCK_K):
            if EVEN_K:
                x, w = tl.load(x_pointers), tl.load(w_pointers)
            else:
                left = inner < k - start
                x = tl.load(x_pointers, mask=left[None, :], other=0)
                w = tl.load(w_pointers, mask=left[:, None], other=0)
            total = tl.dot(x, w, total, out_dtype=tl.int32)
            x_pointers += BLOCK_K
            w_pointers += BLOCK_K

    of_row = tl.load(row_scale + i, mask=in_m)
    of_column = tl.load(scale + of_side, mask=in_n).to(tl.float32)
    result = total.to(tl.float32) * of_row[:, None] * of_column[None, :]
    if HAS_OFFSET:
        of_column *= tl.load(sums + of_side, mask=in_n)
        result += tl.load(row_offset + i, mask=in_m)[:, None] * of_column[None, :]
    result += tl.load(bias + of_side, mask=in_n).to(tl.float32)[None, :]
    if HAS_GELU:  # noqa: SIM102 - a constant; the other is not
        if tile_n * BLOCK_N + BLOCK_N > gelu_from:
            # the tanh form, by tanh(z) = 2 · sigmoid(2z) - 1
            doubled = result * (1.5957691216057308 + 0.07135481282 * result * result)
            result *= tl.where((j >= gelu_from)[None, :], tl.sigmoid(doubled), 1)
    places = out + i[:, None].to(tl.int64) * out_stride + j[None, :]
    inside = in_m[:, None] & in_n[None, :]
    if HAS_GATE:
        result *= tl.load(gate + side * gate_stride + j, mask=in_n).to(tl.float32)[None, :]
        result += tl.load(places, mask=inside).to(tl.float32)
    tl.store(places, result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _multiply_one_kernel(
    row, weights, out, scale, bias, n, k, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr
):
    j = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    in_n = j < n
    total = tl.zeros((BLOCK_N, BLOCK_K), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        left = start + inner < k
        x = tl.load(row + start + inner, mask=left, other=0).to(tl.float32)
        places = weights + j[:, None].to(tl.int64) * k + start + inner[None, :]
        w = tl.load(places, mask=in_n[:, None] & left[None, :], other=0)
        total += w.to(tl.float32) * x[None, :]
    result = tl.sum(total, axis=1) * tl.load(scale + j, mask=in_n).to(tl.float32)
    result += tl.load(bias + j, mask=in_n).to(tl.float32)
    tl.store(out + j, result.to(out.dtype.element_ty), mask=in_n)
