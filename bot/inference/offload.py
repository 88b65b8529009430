"""Weights in host memory: copied there once, and from then on only copied back.

On a GPU's host the memory is pinned (page-locked), from which copies run at the full speed of the
bus, several times that of ordinary memory. Pinning is slow, so that a copy is kept when the weights
return to the device: to leave once more then takes no time at all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from optimum.quanto import QTensor

_log = logging.getLogger(__name__)

CHUNK = 2**30
"""Bytes that are pinned at once; PyTorch rounds each piece up to a power of two."""
ALIGNMENT = 256


class _Place(NamedTuple):
    """Where a module keeps a plain tensor: an attribute of a parameter, or a buffer's name."""

    owner: Any
    name: str


class _Stretch(NamedTuple):
    """What part of a piece of memory a tensor is."""

    place: _Place
    piece: int
    dtype: torch.dtype
    size: torch.Size
    stride: tuple[int, ...]
    offset: int

    def put(self, pieces: dict[int, torch.Tensor]) -> None:
        """Let the module have this part of one of these pieces."""
        values = pieces[self.piece].view(self.dtype)
        start = values.storage_offset() + self.offset
        tensor = values.as_strided(self.size, self.stride, start)
        setattr(self.place.owner, self.place.name, tensor)


class HostCopy:
    """The weights of a module in host memory, while they are on the device and while they are not.

    Tensors that share their memory on the device share it here too, and when they return.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        storages: dict[int, torch.UntypedStorage] = {}
        self._stretches = []
        for place in _places(module):
            tensor: torch.Tensor = getattr(place.owner, place.name)
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage
            self._stretches.append(
                _Stretch(
                    place=place,
                    piece=storage.data_ptr(),
                    dtype=tensor.dtype,
                    size=tensor.shape,
                    stride=tensor.stride(),
                    offset=int(tensor.storage_offset()),
                )
            )
        pinned = any(storage.device.type == "cuda" for storage in storages.values())
        sizes = [storage.nbytes() for storage in storages.values()]
        self._pieces = dict(zip(storages, _allocate(sizes, pinned=pinned), strict=True))
        for key, storage in storages.items():
            bytes_there = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
            self._pieces[key].copy_(bytes_there, non_blocking=True)
        _wait(pinned)

    def leave(self) -> None:
        """Let the module have the tensors in host memory."""
        for stretch in self._stretches:
            stretch.put(self._pieces)

    def arrive(self, device: torch.device) -> None:
        """Copy the tensors to a device and let the module have those."""
        arrived = {
            key: piece.to(device, non_blocking=True, copy=True)
            for key, piece in self._pieces.items()
        }
        _wait(device.type == "cuda")
        for stretch in self._stretches:
            stretch.put(arrived)


def _places(module: torch.nn.Module) -> Iterator[_Place]:
    """Yield where a module's plain tensors are: quanto's weights consist of two."""
    for parameter in module.parameters():
        if isinstance(parameter, QTensor):
            yield _Place(parameter, "_data")
            yield _Place(parameter, "_scale")
        else:
            yield _Place(parameter, "data")
    for owner in module.modules():
        for name, buffer in owner.named_buffers(recurse=False):
            if buffer is not None:
                yield _Place(owner, name)


def _allocate(sizes: list[int], *, pinned: bool) -> Iterator[torch.Tensor]:
    """Yield bytes of these sizes, many of them side by side in one chunk."""
    remaining, chunk, used = sum(map(_aligned, sizes)), torch.empty(0, dtype=torch.uint8), 0
    for size in sizes:
        if used + size > len(chunk):
            chunk, used = _new_chunk(max(size, min(CHUNK, remaining)), pinned), 0
        yield chunk[used : used + size]
        used += _aligned(size)
        remaining -= _aligned(size)


def _new_chunk(size: int, pinned: bool) -> torch.Tensor:
    if pinned:
        try:
            return torch.empty(size, dtype=torch.uint8, pin_memory=True)
        except RuntimeError as error:
            _log.warning("host memory cannot be pinned, copies will be slower: %s", error)
    return torch.empty(size, dtype=torch.uint8)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _wait(is_cuda: bool) -> None:
    if is_cuda:
        torch.cuda.synchronize()
