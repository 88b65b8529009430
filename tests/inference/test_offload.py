"""Weights in host memory and back; a GPU differs in the memory alone."""

from __future__ import annotations

import pytest
import torch

from bot.inference import offload
from bot.inference.offload import HostCopy
from bot.inference.quantization import quantized

from .conftest import CPU


class Tied(torch.nn.Module):
    """Layers of which two share a weight, a buffer, and views of one piece of memory."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(64, 64)
        self.second = torch.nn.Linear(64, 32)
        self.embedding = torch.nn.Embedding(10, 64)
        self.head = torch.nn.Embedding(10, 64)
        self.head.weight = self.embedding.weight
        self.register_buffer("steps", torch.arange(7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.first(x), self.second(x), self.head(self.steps[:3])), 1)


def in_one_piece(module: Tied) -> None:
    """Let the 8-bit weights of both layers be views of one piece, as int8 products have them."""
    weights = [module.first.weight, module.second.weight]
    joined = torch.cat([weight._data for weight in weights])
    weights[0]._data, weights[1]._data = joined[:64], joined[64:]


@pytest.mark.parametrize("chunk", [offload.CHUNK, 4096])
def test_a_module_is_the_same_away_and_back_again(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(offload, "CHUNK", chunk)
    module, x = quantized(Tied()), torch.randn(3, 64)
    assert isinstance(module, Tied)
    in_one_piece(module)
    before, output = {n: t.clone() for n, t in module.state_dict().items()}, module(x)
    host_copy = HostCopy(module)
    for _ in range(2):
        host_copy.leave()
        assert torch.equal(module(x), output)
        host_copy.arrive(CPU)
        assert torch.equal(module(x), output)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_what_shared_its_memory_shares_it_again_and_nothing_is_left_behind() -> None:
    module = quantized(Tied())
    assert isinstance(module, Tied)
    in_one_piece(module)
    # held, so that nobody else is given their memory
    before = [module.first.weight._data, module.first.bias.data]
    old = {tensor.data_ptr() for tensor in before}
    host_copy = HostCopy(module)
    host_copy.leave()
    host_copy.arrive(CPU)
    assert module.head.weight is module.embedding.weight
    first, second = module.first.weight._data, module.second.weight._data
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
    assert first.data_ptr() not in old
    assert module.first.bias.data_ptr() not in old
