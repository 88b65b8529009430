"""How alike pictures are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bot.inference.similarity import BAND, WINDOW, Floats, psnr, ssim, to_pixels


def noise(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).random(shape, np.float32)


def waves(height: int, width: int) -> Floats:
    """Return a picture that is the same on every machine."""
    rows, columns = np.mgrid[:height, :width] / 9
    return np.stack([np.sin(rows), np.cos(columns), np.sin(rows * columns)]).astype(np.float32) / 2


def by_definition(image: Floats, reference: Floats) -> float:
    """Return what Wang et al. write down, one window after the other."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    values = []
    for channel in range(len(image)):
        for top in range(image.shape[-2] - WINDOW + 1):
            for left in range(image.shape[-1] - WINDOW + 1):
                window = np.s_[channel, top : top + WINDOW, left : left + WINDOW]
                a, b = image[window], reference[window]
                mean_a, mean_b = (kernel * a).sum(), (kernel * b).sum()
                variance_a = (kernel * (a - mean_a) ** 2).sum()
                variance_b = (kernel * (b - mean_b) ** 2).sum()
                covariance = (kernel * (a - mean_a) * (b - mean_b)).sum()
                values.append(
                    (2 * mean_a * mean_b + 1e-4)
                    * (2 * covariance + 9e-4)
                    / (mean_a**2 + mean_b**2 + 1e-4)
                    / (variance_a + variance_b + 9e-4)
                )
    return float(np.mean(values))


def test_structural_similarity_is_one_for_equal_images_and_falls_with_noise() -> None:
    image, grain = noise(3, 64, 64), noise(3, 64, 64, seed=1) - 0.5
    values = [float(ssim(image, image + spread * grain)) for spread in (0, 0.05, 0.2, 0.8)]
    assert values[0] == pytest.approx(1)
    assert values == sorted(values, reverse=True)
    assert ssim(image, 1 - image) < 0


def test_structural_similarity_is_what_its_authors_define() -> None:
    image = waves(24, 31) + 0.5
    other = image + 0.2 * noise(3, 24, 31)
    assert float(ssim(image, other)) == pytest.approx(by_definition(image, other), abs=1e-5)


@pytest.mark.parametrize(
    ("sides", "expected"), [((128, 128), 0.30721), ((512, 96), 0.14212), ((75, 300), 0.35824)]
)
def test_structural_similarity_is_that_of_torchs_convolution(
    sides: tuple[int, int], expected: float
) -> None:
    image = waves(*sides) + 0.5
    assert float(ssim(image, image[..., ::-1, :])) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("height", [WINDOW, BAND, BAND + WINDOW - 1, BAND + WINDOW, 3 * BAND + 5])
def test_no_row_is_left_out_and_none_counts_twice(height: int) -> None:
    image, other = noise(1, height, 40), noise(1, height, 40, seed=1)
    turned = ssim(image.swapaxes(-1, -2), other.swapaxes(-1, -2))
    assert float(ssim(image, other)) == pytest.approx(float(turned), abs=1e-6)


def test_each_pair_of_a_batch_is_compared_by_itself() -> None:
    images, others = noise(3, 3, 32, 32), noise(3, 3, 32, 32, seed=1)
    assert ssim(images, others).tolist() == pytest.approx(
        [float(ssim(a, b)) for a, b in zip(images, others, strict=True)]
    )
    assert psnr(images, others).shape == (3,)


def test_a_tenth_of_the_range_is_twenty_decibels() -> None:
    images = noise(2, 3, 16, 16)
    assert psnr(images, images + np.float32(0.1)).tolist() == pytest.approx([20, 20], abs=0.01)


def test_a_picture_is_compared_in_the_three_channels_that_are_seen() -> None:
    pixels = to_pixels(Image.new("RGBA", (20, 12), (255, 0, 51, 128)))
    assert pixels.shape == (3, 12, 20)
    assert pixels[:, 0, 0].tolist() == [255, 0, 51]


def test_bytes_are_compared_as_the_shares_that_they_are() -> None:
    image, other = ((noise(3, 40, 80, seed=n) * 255).astype(np.uint8) for n in (0, 1))
    shares = image / np.float32(255), other / np.float32(255)
    assert float(ssim(image, other)) == pytest.approx(float(ssim(*shares)))
    assert float(psnr(image, other)) == pytest.approx(float(psnr(*shares)))
