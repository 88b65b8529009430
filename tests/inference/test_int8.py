"""Transformers at 8 bits computing in 8 bits: the GPU's kernels, in Triton's interpreter."""

from __future__ import annotations

import copy
import logging
import sys
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from optimum.quanto import QTensor

from bot.inference.int8 import Int8Transformer, obstacle
from bot.inference.quantization import quantized
from bot.inference.tools import FAMILIES, TOOLS

from .conftest import CPU, make_pipelines

if sys.platform != "linux":
    pytest.skip("there is no Triton for this system", allow_module_level=True)

from bot.inference.int8_products import Weights, multiply, multiply_one
from bot.inference.int8_rows import Rows, modulate, quantize, quantize_activated, rotate

# exp of what is far below zero, whose inverse is the 0 that it should be
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp:RuntimeWarning")

EPS = 1e-6


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def int8_weights(n: int, k: int, sides: int = 1) -> Weights:
    generator = torch.Generator().manual_seed(1)
    values = torch.randint(-127, 128, (sides * n, k), generator=generator).to(torch.int8)
    return Weights(
        values=values,
        scale=0.01 * torch.rand(sides * n, generator=generator),
        sums=values.sum(1).float(),
        bias=noise(sides * n),
        sides=sides,
    )


def restored(rows: Rows) -> torch.Tensor:
    """Return what quantised rows stand for."""
    offset = 0 if rows.offset is None else rows.offset[:, None]
    return rows.values * rows.scale[:, None] + offset


def product(rows: Rows, weights: Weights, side: int = 0) -> torch.Tensor:
    part = slice(side * weights.width, (side + 1) * weights.width)
    full = weights.values[part] * weights.scale[part, None]
    return restored(rows) @ full.T + weights.bias[part]


def test_a_product_is_that_of_the_numbers_which_the_integers_stand_for() -> None:
    rows, weights = quantize(noise(40, 96)), int8_weights(80, 96)
    out = torch.empty(40, 80)
    multiply(rows, weights, 7, out)
    torch.testing.assert_close(out, product(rows, weights))


def test_words_and_picture_have_their_own_layers_and_gates() -> None:
    rows, weights, gate = quantize(noise(150, 64)), int8_weights(48, 64, sides=2), noise(2, 48)
    before = noise(150, 48, seed=2)
    out = before.clone()
    multiply(rows, weights, 10, out, gate=gate)
    side = (torch.arange(150) >= 10).long()
    both = torch.stack([product(rows, weights, 0), product(rows, weights, 1)])
    expected = before + gate[side] * both[side, torch.arange(150)]
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def test_gelu_begins_at_its_column() -> None:
    rows, weights = quantize(noise(20, 64)), int8_weights(160, 64)
    out = torch.empty(20, 160)
    multiply(rows, weights, 0, out, gelu_from=70)
    plain = product(rows, weights)
    torch.testing.assert_close(out[:, :70], plain[:, :70])
    gelu = torch.nn.functional.gelu(plain[:, 70:], approximate="tanh")
    torch.testing.assert_close(out[:, 70:], gelu, rtol=1e-4, atol=1e-5)


def test_one_row_is_multiplied_as_it_is() -> None:
    weights, row = int8_weights(50, 700), noise(700)
    full = weights.values * weights.scale[:, None]
    torch.testing.assert_close(
        multiply_one(row, weights), full @ row + weights.bias, rtol=1e-4, atol=1e-4
    )


def test_rows_are_modulated_by_their_side_and_quantised_to_half_a_step() -> None:
    x, shift, scale = 3 * noise(30, 100) + 1, noise(2, 100), noise(2, 100, seed=3)
    rows = modulate(x, 12, shift, scale, EPS)
    side = (torch.arange(30) >= 12).long()
    norm = torch.nn.functional.layer_norm(x, (100,), eps=EPS)
    expected = norm * (1 + scale[side]) + shift[side]
    assert ((restored(rows) - expected).abs() / rows.scale[:, None]).max() < 0.501


def test_values_to_one_side_use_all_256_levels() -> None:
    wide = torch.nn.functional.gelu(4 * noise(25, 300))
    first = 0.1 * noise(25, 60)
    rows = quantize_activated(wide[:, 40:], first)
    expected = torch.cat((first, wide[:, 40:]), 1)
    assert ((restored(rows) - expected).abs() / rows.scale[:, None]).max() < 0.501
    assert rows.values.amin(1).eq(-128).all()
    assert rows.values.amax(1).eq(127).all()
    # half as coarse as with as many levels for what lies below zero
    assert (rows.scale < 0.6 * quantize(expected).scale).all()


def test_rows_of_zeros_stay_zeros() -> None:
    for rows in (quantize(torch.zeros(3, 32)), quantize_activated(torch.zeros(3, 32))):
        assert restored(rows).abs().max() < 1e-9


def test_queries_and_keys_turn_as_in_diffusers() -> None:
    from diffusers.models.embeddings import apply_rotary_emb
    from diffusers.models.transformers.transformer_flux import FluxPosEmbed

    rows, words, heads, size = 20, 6, 3, 32
    ids = torch.cat((torch.zeros(words, 3), torch.arange(14.0)[:, None].expand(14, 3)))
    cos, sin = FluxPosEmbed(10000, [8, 12, 12])(ids)
    qk, norms = noise(rows, 2 * heads * size), 1 + 0.1 * noise(4, size)
    turned = qk.clone()
    rotate(turned, words, norms, cos[:, ::2].contiguous(), sin[:, ::2].contiguous(), EPS)
    side = (torch.arange(rows) >= words).long()
    for part in range(2):
        x = qk.view(rows, 2, heads, size)[:, part]
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)
        x = (x * norms[2 * side + part][:, None])[None]
        expected = apply_rotary_emb(x, (cos, sin), sequence_dim=1)[0]
        ours = turned.view(rows, 2, heads, size)[:, part]
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def full() -> FluxTransformer2DModel:
    """The tiny dev's transformer in full precision, with some of its blocks, two of each kind."""
    folder = FAMILIES["tiny"].folder
    assert folder is not None
    model = FluxTransformer2DModel.from_pretrained(folder / "FLUX.1-dev" / "transformer")
    del model.transformer_blocks[2:], model.single_transformer_blocks[2:]  # they take seconds each
    return model.eval().requires_grad_(False)


@pytest.fixture
def eight_bit(full: FluxTransformer2DModel) -> FluxTransformer2DModel:
    return quantized(copy.deepcopy(full))


def step(model: FluxTransformer2DModel) -> dict[str, Any]:
    """Return the inputs of one step of a very small picture."""
    config, ids = model.config, torch.zeros(16, 3)
    ids[:, 1:] = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    return {
        "hidden_states": noise(1, 16, config.in_channels),
        "encoder_hidden_states": noise(1, 8, config.joint_attention_dim),
        "pooled_projections": noise(1, config.pooled_projection_dim),
        "timestep": torch.tensor([0.7]),
        "img_ids": ids,
        "txt_ids": torch.zeros(8, 3),
        "guidance": torch.tensor([3.5]),
    }


def test_a_step_is_as_near_to_full_precision_as_quantos(
    full: FluxTransformer2DModel, eight_bit: FluxTransformer2DModel
) -> None:
    inputs = step(full)
    exact, quanto = full(**inputs).sample, eight_bit(**inputs).sample
    ours = Int8Transformer(eight_bit)
    ours.attach()
    sample = eight_bit(**inputs).sample
    assert ours.failure is None
    assert not torch.equal(sample, quanto)
    assert (sample - exact).norm() <= 1.2 * (quanto - exact).norm()


def test_the_weights_stay_quantos_own(eight_bit: FluxTransformer2DModel) -> None:
    inputs, before = step(eight_bit), copy.deepcopy(eight_bit.state_dict())
    quanto = eight_bit(**inputs).sample
    ours = Int8Transformer(eight_bit)
    ours.attach()
    after = eight_bit.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    # in one piece, and not twice in memory
    attn = eight_bit.transformer_blocks[0].attn
    pieces = {layer.weight._data.untyped_storage().data_ptr() for layer in (attn.to_q, attn.to_k)}
    assert len(pieces) == 1
    ours.release()
    assert torch.equal(eight_bit(**inputs).sample, quanto)


def test_attached_again_nothing_is_copied(eight_bit: FluxTransformer2DModel) -> None:
    ours = Int8Transformer(eight_bit)
    ours.attach()
    where = [p._data.data_ptr() for p in eight_bit.parameters() if isinstance(p, QTensor)]
    ours.release()
    ours.attach()
    assert where == [p._data.data_ptr() for p in eight_bit.parameters() if isinstance(p, QTensor)]


def test_where_a_kernel_fails_quanto_goes_on_and_the_log_says_why(
    eight_bit: FluxTransformer2DModel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("PTX was compiled with an unsupported toolchain")

    inputs = step(eight_bit)
    quanto = eight_bit(**inputs).sample
    ours = Int8Transformer(eight_bit)
    ours.attach()
    monkeypatch.setattr("bot.inference.int8_blocks.multiply", fail)
    with caplog.at_level(logging.ERROR):
        assert torch.equal(eight_bit(**inputs).sample, quanto)
    assert "going on with quanto's own way" in caplog.text
    assert ours.failure is not None
    assert "unsupported toolchain" in ours.failure
    monkeypatch.undo()
    ours.attach()  # as after it was moved: it has failed once, and stays quanto's
    assert torch.equal(eight_bit(**inputs).sample, quanto)


def test_without_an_nvidia_gpu_quanto_computes(
    full: FluxTransformer2DModel, eight_bit: FluxTransformer2DModel
) -> None:
    assert obstacle(torch.nn.Linear(2, 2), CPU) == "it is no transformer of FLUX.1"
    assert obstacle(eight_bit, CPU) == "it is not on an NVIDIA GPU"


@pytest.mark.parametrize(
    ("kernel", "level"), [("auto", "INFO"), ("fused", "WARNING"), ("quanto", None)]
)
def test_the_log_says_why_quanto_computes_unless_that_was_asked_for(
    kernel: str, level: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pipelines = make_pipelines(int8_kernel=kernel)
    pipelines.denoiser(TOOLS["schnell"], "8-bit")
    pipelines.denoiser(TOOLS["schnell"], "None")
    levels = [r.levelname for r in caplog.records if "as quanto does" in r.getMessage()]
    assert levels == ([level] if level else [])
