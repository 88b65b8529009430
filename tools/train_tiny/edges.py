"""OpenCV's Canny in torch, so that a hundred thousand edge maps can be drawn on the GPU."""

import torch
from torch import Tensor
from torch.nn import functional

LOW, HIGH = 100, 200
"""The thresholds that the command has unless they are given."""
GRAY_WEIGHTS, GRAY_SHIFT = (19595, 38470, 7471), 16
"""Pillow's weights of red, green and blue, in fixed point."""
TANGENT_22, TANGENT_SHIFT = 13573, 15
SPREADS_BETWEEN_LOOKS = 16


def to_gray(images: Tensor) -> Tensor:
    """Gray values (B, H, W), integers in 0..255, of images (B, 3, H, W) in 0..1."""
    red, green, blue = (images * 255).round().int().unbind(1)
    total = red * GRAY_WEIGHTS[0] + green * GRAY_WEIGHTS[1] + blue * GRAY_WEIGHTS[2]
    return (total + (1 << GRAY_SHIFT >> 1)) >> GRAY_SHIFT


def canny(gray: Tensor, low: Tensor | int = LOW, high: Tensor | int = HIGH) -> Tensor:
    """Edges (B, H, W), true or false, of gray values; as cv2.Canny(gray, low, high) finds them."""
    low, high = (
        torch.as_tensor(t, device=gray.device).reshape(-1, 1, 1).expand(len(gray), 1, 1)
        for t in (low, high)
    )
    dx, dy = _gradients(gray)
    strength = dx.abs() + dy.abs()
    candidates = _ridges(dx, dy, strength) & (strength > low)
    edges = candidates & (strength > high)
    while True:
        before = edges
        for _ in range(SPREADS_BETWEEN_LOOKS):
            around = functional.max_pool2d(edges[:, None].float(), 3, 1, 1)[:, 0] > 0
            edges = candidates & around
        if torch.equal(before, edges):
            return edges


def _gradients(gray: Tensor) -> tuple[Tensor, Tensor]:
    padded = functional.pad(gray[:, None].float(), (1, 1, 1, 1), mode="replicate")
    sobel = padded.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack((sobel, sobel.T))[:, None].double()
    # Double precision, so that no GPU may round whole numbers on the way.
    dx, dy = functional.conv2d(padded.double(), kernels).round().int().unbind(1)
    return dx, dy


def _ridges(dx: Tensor, dy: Tensor, strength: Tensor) -> Tensor:
    """Where the strength peaks across the edge, in one of four directions."""
    height, width = strength.shape[1:]
    padded = functional.pad(strength, (1, 1, 1, 1))

    def neighbour(x: int, y: int) -> Tensor:
        return padded[:, 1 + y : 1 + y + height, 1 + x : 1 + x + width]

    across, down = dx.abs(), dy.abs() << TANGENT_SHIFT
    flat = across * TANGENT_22
    steep = flat + (across << (TANGENT_SHIFT + 1))
    horizontal = (strength > neighbour(-1, 0)) & (strength >= neighbour(1, 0))
    vertical = (strength > neighbour(0, -1)) & (strength >= neighbour(0, 1))
    falling = (strength > neighbour(-1, -1)) & (strength > neighbour(1, 1))
    rising = (strength > neighbour(1, -1)) & (strength > neighbour(-1, 1))
    diagonal = torch.where((dx ^ dy) < 0, rising, falling)
    return torch.where(down < flat, horizontal, torch.where(down > steep, vertical, diagonal))
