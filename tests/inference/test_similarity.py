"""How alike pictures are."""

from __future__ import annotations

import pytest
import torch

from bot.inference.similarity import psnr, ssim


def test_structural_similarity_is_one_for_equal_images_and_falls_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 64, 64, generator=generator)
    noise = torch.randn(image.shape, generator=generator)
    values = [ssim(image, image + spread * noise).item() for spread in (0, 0.02, 0.08, 0.3)]
    assert values[0] == pytest.approx(1)
    assert values == sorted(values, reverse=True)
    assert ssim(image, 1 - image).item() < 0


def test_a_tenth_of_the_range_is_twenty_decibels() -> None:
    image = torch.rand(2, 3, 16, 16)
    assert psnr(image, image + 0.1).tolist() == pytest.approx([20, 20], abs=0.01)
