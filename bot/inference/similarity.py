"""How alike two batches of pictures are."""

import torch
from torch import Tensor
from torch.nn import functional

WINDOW, SIGMA = 11, 1.5
STABILITY_MEAN, STABILITY_CONTRAST = 0.01**2, 0.03**2


def psnr(images: Tensor, references: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each pair (B, 3, H, W) in 0..1."""
    error = (images - references).square().mean((1, 2, 3)).clamp(min=1e-10)
    return -10 * torch.log10(error)


def ssim(images: Tensor, references: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) of each pair (B, 3, H, W) in 0..1."""
    mean_a, mean_b = _smooth(images), _smooth(references)
    variance_a = _smooth(images * images) - mean_a**2
    variance_b = _smooth(references * references) - mean_b**2
    covariance = _smooth(images * references) - mean_a * mean_b
    means = (2 * mean_a * mean_b + STABILITY_MEAN) / (mean_a**2 + mean_b**2 + STABILITY_MEAN)
    contrast = (2 * covariance + STABILITY_CONTRAST) / (
        variance_a + variance_b + STABILITY_CONTRAST
    )
    return (means * contrast).mean((1, 2, 3))


def _smooth(images: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW, device=images.device) - WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel = (kernel[:, None] * kernel / kernel.sum() ** 2).expand(images.shape[1], 1, -1, -1)
    return functional.conv2d(images, kernel, groups=images.shape[1])
