"""The full-size architecture without any download: configurations, and weights that mean nothing.

Speed and memory are those of the real models, the pictures are noise. The sizes are those of the
published configurations: FLUX.1's own, T5 v1.1 XXL, CLIP ViT-L/14, SigLIP So400m, Depth Anything V2
small.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from transformers import (
    CLIPTextConfig,
    DepthAnythingConfig,
    Dinov2Config,
    SiglipVisionConfig,
    T5Config,
)

from bot.inference.memory import weigh
from bot.inference.parts import Key, Parts
from bot.inference.quantization import Loaded, Part, skeleton
from bot.inference.store import fill
from bot.inference.tools import DEPTH_REPO, FAMILIES, SHARED_REPO, TOOLS, Family
from bot.inference.types import Quantization

SPREAD = 0.02
"""Standard deviation of the weights, as transformers are initialised."""

_IN_CHANNELS = {"FluxFillPipeline": 384, "FluxControlPipeline": 128}
"""Of a transformer that is shown more than the noise; the others have 64."""


def full_size_family(folder: Path) -> Family:
    """Write the layout of all repositories, without weights, and return the family that it is.

    Tokenizers, schedulers and what prepares images are the tiny family's.
    """
    tiny = FAMILIES["tiny"].folder
    assert tiny is not None
    shutil.copytree(tiny, folder, ignore=_weights, dirs_exist_ok=True)
    for tool in TOOLS.values():
        repository = folder / tool.transformer_repo_id.rpartition("/")[2]
        if not repository.is_dir():  # the tiny family has no Krea; it is dev with other weights
            shutil.copytree(folder / "FLUX.1-dev", repository)
        with torch.device("meta"):
            transformer = FluxTransformer2DModel(
                in_channels=_IN_CHANNELS.get(tool.pipeline, 64),
                out_channels=64,
                guidance_embeds=tool.guidance is not None,
            )
        transformer.save_config(repository / "transformer")
    _write_shared(folder / SHARED_REPO.rpartition("/")[2])
    _write_redux(folder / "FLUX.1-Redux-dev")
    _write_depth(folder / DEPTH_REPO.rpartition("/")[2])
    return replace(FAMILIES["flux"], folder=folder)


class RandomParts(Parts):
    """Parts with weights that are made on the device, tensor by tensor."""

    def load(self, key: Key) -> Loaded:
        """Return a part on the device, quantised as it would be."""
        module = self._empty(key)
        if key.is_quantized:
            skeleton(module)
        fill(module, random_tensors(module, self._device, self._dtype), self._device, self._dtype)
        quantization: Quantization = "8-bit" if key.is_quantized else "None"
        return Loaded(module=module, part=Part(weights=weigh(module), quantization=quantization))


def random_tensors(
    empty: torch.nn.Module, device: torch.device, dtype: torch.dtype
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield weights for a module on the meta device: noise, ones for norms and zeros for biases."""
    generator = torch.Generator(device).manual_seed(0)
    for name, tensor in empty.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if name.endswith(("input_scale", "output_scale")):
            continue
        if tensor.ndim > 1:
            values = torch.empty(tensor.shape, device=device, dtype=dtype)
            yield name, values.normal_(0, SPREAD, generator=generator)
        else:
            fill = torch.zeros if name.endswith("bias") else torch.ones
            yield name, fill(tensor.shape, device=device, dtype=dtype)


def _weights(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".safetensors")]


def _write_shared(repository: Path) -> None:
    T5Config(
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=24,
        num_heads=64,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        vocab_size=32128,
    ).save_pretrained(repository / "text_encoder_2")
    CLIPTextConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=768,
        # that of the tiny tokenizer, whose end the model looks for
        **_kept(repository / "text_encoder", "bos_token_id", "eos_token_id", "pad_token_id"),
    ).save_pretrained(repository / "text_encoder")
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=16,
            norm_num_groups=32,
            sample_size=1024,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
    vae.save_config(repository / "vae")


def _write_redux(repository: Path) -> None:
    SiglipVisionConfig(
        hidden_size=1152,
        intermediate_size=4304,
        num_hidden_layers=27,
        num_attention_heads=16,
        image_size=384,
        patch_size=14,
    ).save_pretrained(repository / "image_encoder")
    with torch.device("meta"):
        ReduxImageEncoder().save_config(repository / "image_embedder")
    _change(
        repository / "feature_extractor" / "preprocessor_config.json",
        size={"height": 384, "width": 384},
    )


def _write_depth(repository: Path) -> None:
    DepthAnythingConfig(
        backbone_config=Dinov2Config(
            hidden_size=384,
            num_hidden_layers=12,
            num_attention_heads=6,
            image_size=518,
            patch_size=14,
            out_indices=[3, 6, 9, 12],
            apply_layernorm=True,
            reshape_hidden_states=False,
        ),
    ).save_pretrained(repository)
    _change(
        repository / "preprocessor_config.json",
        size={"height": 518, "width": 518},
        ensure_multiple_of=14,
    )


def _kept(folder: Path, *names: str) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {name: config[name] for name in names}


def _change(file: Path, **values: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(content | values), encoding="utf-8")
