"""Edges where the picture has some, and depth of the picture's size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from bot.inference.annotators import canny_edges, estimate_depth


def disc(contrast: int = 255, size: tuple[int, int] = (160, 120)) -> Image.Image:
    image = Image.new("RGB", size)
    ImageDraw.Draw(image).ellipse((40, 20, 120, 100), fill=(contrast,) * 3)
    return image


def test_edges_are_white_on_black_and_lie_on_the_outline() -> None:
    edges = canny_edges(disc(), 100, 200)
    assert (edges.mode, edges.size) == ("RGB", (160, 120))
    levels = np.asarray(edges)
    assert set(np.unique(levels)) == {0, 255}
    y, x = np.nonzero(levels[..., 0])
    radius = np.hypot(x - 80, y - 60)
    assert len(radius) > 200
    assert np.abs(radius - 40).max() < 2.5


def test_the_thresholds_decide_which_edges_count() -> None:
    faint = disc(contrast=40)
    assert canny_edges(faint, 20, 60).getbbox() is not None
    assert canny_edges(faint, 200, 255).getbbox() is None
    assert canny_edges(Image.new("RGB", (64, 48), "red"), 1, 2).getbbox() is None


def depth_model(dtype: torch.dtype = torch.float32) -> DepthAnythingForDepthEstimation:
    """Return a model of the architecture of Depth Anything V2 that has learned nothing."""
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=70,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 16, 24, 32],
        fusion_hidden_size=16,
        head_hidden_size=8,
    )
    return DepthAnythingForDepthEstimation(config).eval().to(dtype)


PROCESSOR = DPTImageProcessorPil(
    size={"height": 70, "width": 70}, ensure_multiple_of=14, keep_aspect_ratio=True
)


@pytest.mark.parametrize("size", [(160, 120), (120, 160), (64, 64), (333, 97)])
def test_depth_has_the_size_of_the_picture_and_uses_the_whole_range(size: tuple[int, int]) -> None:
    depth = estimate_depth(depth_model(), PROCESSOR, disc(size=size))
    assert (depth.mode, depth.size) == ("RGB", size)
    levels = np.asarray(depth)
    assert (levels.min(), levels.max()) == (0, 255)
    assert (levels[..., 0] == levels[..., 2]).all()


def test_depth_is_estimated_in_the_format_of_the_model() -> None:
    exact = np.asarray(estimate_depth(depth_model(), PROCESSOR, disc()), int)
    short = np.asarray(estimate_depth(depth_model(torch.bfloat16), PROCESSOR, disc()), int)
    assert np.corrcoef(exact.ravel(), short.ravel())[0, 1] > 0.8


@pytest.mark.parametrize("value", [0.0, 5.0, float("nan")])
def test_a_picture_without_depth_is_black(value: float) -> None:
    model = depth_model()
    with torch.no_grad():
        model.head.conv3.weight.zero_()
        model.head.conv3.bias.fill_(value)
    assert estimate_depth(model, PROCESSOR, disc()).getbbox() is None


def test_what_is_near_is_bright() -> None:
    model = depth_model()
    seen = np.asarray(estimate_depth(model, PROCESSOR, disc(size=(70, 70))), int)[..., 0]
    with torch.no_grad():  # the model's numbers grow with nearness, as inverse depth does
        pixels = PROCESSOR(images=disc(size=(70, 70)), return_tensors="pt")["pixel_values"]
        nearness = model(pixels).predicted_depth[0].numpy()
    assert np.corrcoef(seen.ravel(), nearness.ravel())[0, 1] > 0.999
