"""Triton kernels for what lies between the products: each goes over its rows once, and quantises.

Activations are quantised as they come, one scale a token: x = scale · q + offset, where the offset
is 0 unless the values lie to one side, as after GELU. Rows are a prompt's words, `words` of them,
and then a picture's tokens; what is given for both sides has the words' first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl


@dataclass(frozen=True, slots=True)
class Rows:
    """Quantised activations: values (M, K) int8, scale (M,) and offset (M,) float32."""

    values: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor | None = None


def modulate(
    x: torch.Tensor, words: int, shift: torch.Tensor, scale: torch.Tensor, eps: float
) -> Rows:
    """Return layer_norm(x) · (1 + scale) + shift, quantised; x is (M, K), the others (sides, K)."""
    m, k = x.shape
    rows = _empty_rows(m, k, x.device)
    _modulate_kernel[(m,)](
        x,
        shift,
        scale,
        rows.values,
        rows.scale,
        words,
        k,
        0 if len(shift) == 1 else shift.stride(0),
        eps,
        BLOCK=triton.next_power_of_2(k),
        num_warps=4,
    )
    return rows


def quantize(x: torch.Tensor) -> Rows:
    """Return x (M, K) quantised."""
    m, k = x.shape
    rows = _empty_rows(m, k, x.device)
    block = triton.next_power_of_2(k)
    _quantize_kernel[(m,)](x, rows.values, rows.scale, k, BLOCK=block, num_warps=4)
    return rows


def quantize_activated(x: torch.Tensor, first: torch.Tensor | None = None) -> Rows:
    """Return `first` (M, A) and x (M, B), which went through GELU, side by side and quantised.

    The rows of x may lie apart.
    """
    m, b = x.shape
    a = 0 if first is None else first.shape[1]
    rows = _empty_rows(m, a + b, x.device)
    offset = torch.empty_like(rows.scale)
    _quantize_activated_kernel[(m,)](
        x,
        first,
        rows.values,
        rows.scale,
        offset,
        a,
        b,
        x.stride(0),
        HAS_FIRST=first is not None,
        BLOCK=2048,
        num_warps=8,
    )
    return Rows(rows.values, rows.scale, offset)


def rotate(
    qk: torch.Tensor,
    words: int,
    norms: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    eps: float,
) -> None:
    """Normalise queries and keys (Zhang & Sennrich 2019), turn them by their positions, in place.

    `qk` (M, 2 · heads · D) holds both, its rows may lie apart. `norms` (2 · sides, D) are the
    weights for queries and keys; `cos` and `sin` (M, D/2).
    """
    m, size = qk.shape[0], norms.shape[1]
    heads = qk.shape[1] // (2 * size)
    block = 8
    _rotate_kernel[(m, triton.cdiv(heads, block), 2)](
        qk,
        norms,
        cos,
        sin,
        words if len(norms) == 4 else m,
        heads,
        qk.stride(0),
        eps,
        SIZE=size,
        BLOCK=block,
        num_warps=4,
    )


def _empty_rows(m: int, k: int, device: torch.device) -> Rows:
    return Rows(torch.empty((m, k), dtype=torch.int8, device=device), torch.empty(m, device=device))


@triton.jit(do_not_specialize=["words"])
def _modulate_kernel(
    x, shift, scale, values, row_scale, words, k, side_stride, eps, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    inside = i < k
    if row >= words:
        shift += side_stride
        scale += side_stride
    v = tl.load(x + row * k + i, mask=inside, other=0).to(tl.float32)
    v = tl.where(inside, v - tl.sum(v, axis=0) / k, 0)
    v *= 1 / tl.sqrt(tl.sum(v * v, axis=0) / k + eps)
    v = v * (1 + tl.load(scale + i, mask=inside, other=0).to(tl.float32))
    v += tl.load(shift + i, mask=inside, other=0).to(tl.float32)
    of_row = tl.maximum(tl.max(tl.abs(v), axis=0), 1e-12) / 127
    tl.store(values + row * k + i, tl.floor(v / of_row + 0.5).to(tl.int8), mask=inside)
    tl.store(row_scale + row, of_row)


@triton.jit
def _quantize_kernel(x, values, row_scale, k, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    inside = i < k
    v = tl.load(x + row * k + i, mask=inside, other=0).to(tl.float32)
    of_row = tl.maximum(tl.max(tl.abs(v), axis=0), 1e-12) / 127
    tl.store(values + row * k + i, tl.floor(v / of_row + 0.5).to(tl.int8), mask=inside)
    tl.store(row_scale + row, of_row)


@triton.jit
def _quantize_activated_kernel(
    x, first, values, row_scale, row_offset, a, b, x_stride,
    HAS_FIRST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    x += row * x_stride
    values += row * (a + b)
    lowest = tl.full((BLOCK,), float("inf"), tl.float32)
    highest = tl.full((BLOCK,), float("-inf"), tl.float32)
    # twice over the row, the second time from the cache: a whole one takes too many registers
    if HAS_FIRST:
        first += row * a
        for start in range(0, a, BLOCK):
            inside = start + i < a
            v = tl.load(first + start + i, mask=inside, other=0).to(tl.float32)
            lowest, highest = tl.minimum(lowest, v), tl.maximum(highest, v)
    for start in range(0, b, BLOCK):
        inside = start + i < b
        v = tl.load(x + start + i, mask=inside, other=0).to(tl.float32)
        lowest, highest = tl.minimum(lowest, v), tl.maximum(highest, v)
    low = tl.min(lowest, axis=0)
    of_row = tl.maximum(tl.max(highest, axis=0) - low, 1e-12) / 255
    if HAS_FIRST:
        for start in range(0, a, BLOCK):
            inside = start + i < a
            v = tl.load(first + start + i, mask=inside, other=0).to(tl.float32)
            q = tl.floor((v - low) / of_row + 0.5) - 128
            tl.store(values + start + i, q.to(tl.int8), mask=inside)
    for start in range(0, b, BLOCK):
        inside = start + i < b
        v = tl.load(x + start + i, mask=inside, other=0).to(tl.float32)
        q = tl.floor((v - low) / of_row + 0.5) - 128
        tl.store(values + a + start + i, q.to(tl.int8), mask=inside)
    tl.store(row_scale + row, of_row)
    tl.store(row_offset + row, low + 128 * of_row)


@triton.jit(do_not_specialize=["words"])
def _rotate_kernel(
    qk,
    norms,
    cos,
    sin,
    words,
    heads,
    stride,
    eps,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_key = tl.program_id(2)
    i = tl.arange(0, SIZE)
    places = qk + row * stride + (is_key * heads + head[:, None]) * SIZE + i[None, :]
    inside = (head < heads)[:, None] & (i >= 0)[None, :]
    v = tl.load(places, mask=inside, other=0).to(tl.float32)
    norms += is_key * SIZE
    if row >= words:
        norms += 2 * SIZE
    v *= (1 / tl.sqrt(tl.sum(v * v, axis=1) / SIZE + eps))[:, None]
    v *= tl.load(norms + i).to(tl.float32)[None, :]
    even, odd = tl.split(tl.reshape(v, (BLOCK, SIZE // 2, 2)))
    pair = tl.arange(0, SIZE // 2)
    c = tl.load(cos + row * (SIZE // 2) + pair)[None, :]
    s = tl.load(sin + row * (SIZE // 2) + pair)[None, :]
    turned = tl.join(even * c - odd * s, odd * c + even * s)
    turned = tl.reshape(turned, (BLOCK, SIZE))
    tl.store(places, turned.to(qk.dtype.element_ty), mask=inside)
