"""The autoencoder and the transformer: FLUX.1's classes, far below a thousandth of its size."""

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Tensor, nn
from torch.nn import functional

from .text import TEXT_WIDTH

LATENT_CHANNELS = 16
PATCH_CHANNELS = 4 * LATENT_CHANNELS
"""FLUX packs 2 x 2 latents into one image token."""
LATENT_NOISE = 0.1
"""Standard deviation of the autoencoder's posterior, the same everywhere."""


def build_vae() -> AutoencoderKL:
    """An autoencoder of 1.1 M parameters with 16 latent channels at an eighth of the size."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 48, 64, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=16,
        sample_size=128,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
    )
    for name, module in vae.named_modules():
        if isinstance(module, nn.Conv2d):
            # PyTorch's default shrinks the signal and needs several times as many steps.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
            with torch.no_grad():
                module.weight.mul_(_convolution_gain(name))
    return vae


def build_transformer(
    guidance_embeds: bool = True, hint_channels: int = 0
) -> FluxTransformer2DModel:
    """A FLUX transformer of 2.9 M parameters whose blocks and output start at zero."""
    transformer = FluxTransformer2DModel(
        in_channels=PATCH_CHANNELS + hint_channels,
        out_channels=PATCH_CHANNELS,
        num_layers=2,
        num_single_layers=6,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        axes_dims_rope=(8, 12, 12),
        guidance_embeds=guidance_embeds,
    )
    modulations = ("norm1.linear", "norm1_context.linear", "norm.linear", "norm_out.linear")
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
            if name.endswith(modulations) or name == "proj_out":
                nn.init.zeros_(module.weight)
            elif name.startswith("time_text_embed"):
                nn.init.normal_(module.weight, std=0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
    return transformer


class LatentCodec:
    """The autoencoder from pictures in 0..1 to the transformer's image tokens."""

    def __init__(self, vae: AutoencoderKL, dtype: torch.dtype) -> None:
        self.vae, self.dtype = vae, dtype
        self.shift: float = vae.config["shift_factor"]
        self.scale: float = vae.config["scaling_factor"]

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) as tokens (B, H/16 * W/16, 64)."""
        moments = self.vae.encoder((images * 2 - 1).to(self.dtype))
        means = moments[:, :LATENT_CHANNELS].float()
        return pack_latents((means - self.shift) * self.scale)

    def sample(self, images: Tensor) -> Tensor:
        """Like `encode`, but drawn from the posterior, as the pipelines take hints."""
        means = self.encode(images)
        return means + self.scale * LATENT_NOISE * torch.randn_like(means)

    def rebuild(self, images: Tensor) -> Tensor:
        """Images as they come out of the autoencoder, in 0..1."""
        moments = self.vae.encoder((images * 2 - 1).to(self.dtype))
        rebuilt: Tensor = self.vae.decoder(moments[:, :LATENT_CHANNELS]).float()
        return (rebuilt / 2 + 0.5).clamp(0, 1)


def pack_latents(latents: Tensor) -> Tensor:
    """Latents (B, 16, H, W) as tokens (B, H/2 * W/2, 64)."""
    return functional.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def image_ids(rows: int, columns: int, device: torch.device) -> Tensor:
    """Coordinates (rows * columns, 3) of the tokens of a picture that is the only one."""
    ids = torch.zeros(rows, columns, 3, device=device)
    ids[..., 1] = torch.arange(rows, device=device)[:, None]
    ids[..., 2] = torch.arange(columns, device=device)
    return ids.flatten(0, 1)


def _convolution_gain(name: str) -> float:
    if name.endswith("conv2"):
        return 0.1
    if "samplers" in name or name.endswith(("conv_shortcut", "conv_in", "conv_out")):
        return 0.5**0.5
    return 1.0
