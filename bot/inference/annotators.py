"""What a picture says besides its colours: its edges, and how near everything is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import DepthAnythingForDepthEstimation, DPTImageProcessor


def canny_edges(image: Image.Image, low: int, high: int) -> Image.Image:
    """Return the edges of an "RGB" picture as one of its size, white on black.

    An edge begins where the gradient of the luminosity (0 to 255, by Sobel's 3 × 3) is above `high`
    and goes on as long as it is above `low`. OpenCV exchanges the two where they are given the
    wrong way round. Source: Canny, "A Computational Approach to Edge Detection", 1986.
    """
    edges = cv2.Canny(np.asarray(image.convert("L")), low, high)
    return Image.fromarray(edges).convert("RGB")


@torch.inference_mode()
def estimate_depth(
    model: DepthAnythingForDepthEstimation, processor: DPTImageProcessor, image: Image.Image
) -> Image.Image:
    """Return the depth of an "RGB" picture as a grey one of its size: near is 255, far is 0.

    The scale is each picture's own, for the model knows no metres; a picture in which everything is
    equally near is black. Source: Yang et al., "Depth Anything V2", 2024.
    """
    parameter = next(model.parameters())
    pixels = processor(images=image, return_tensors="pt")["pixel_values"]
    depth = model(pixels.to(parameter.device, parameter.dtype)).predicted_depth
    # (1, height, width) of the model's own size to (height, width) of the picture's
    depth = functional.interpolate(
        depth[:, None].float(), size=image.size[::-1], mode="bicubic", align_corners=False
    )[0, 0]
    depth = torch.nan_to_num(depth)
    # what differs by less than this is rounding
    least = 1e-3 * depth.abs().max() + torch.finfo(depth.dtype).tiny
    levels = 255 * (depth - depth.min()) / torch.maximum(depth.max() - depth.min(), least)
    grey = levels.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return Image.fromarray(grey).convert("RGB")
