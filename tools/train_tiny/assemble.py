"""Writes the trained parts in diffusers' folder layout, what is shared only once."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

SCHNELL, DEV = "FLUX.1-schnell", "FLUX.1-dev"
# The schedulers' settings are those of the models' repositories.
SCHEDULER = {
    "num_train_timesteps": 1000,
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
}
SCHNELL_SCHEDULER = {**SCHEDULER, "shift": 1.0, "use_dynamic_shifting": False}
DEV_SCHEDULER = {**SCHEDULER, "shift": 3.0, "use_dynamic_shifting": True}


def save_family(parts: Path, family: Path) -> None:
    """Write schnell with everything, and dev with only what differs from it."""
    schnell = _assemble(parts, "schnell", SCHNELL_SCHEDULER)
    schnell.save_pretrained(family / SCHNELL)
    dev = _assemble(parts, "guidance", DEV_SCHEDULER)
    dev.save_config(family / DEV)
    dev.scheduler.save_pretrained(family / DEV / "scheduler")
    dev.transformer.save_pretrained(family / DEV / "transformer")
    for path in family.glob("**/*.json"):
        _forget_origin(path)


def load_pipeline(family: Path, name: str, dtype: torch.dtype = torch.float32) -> FluxPipeline:
    """A pipeline of the family; what its folder lacks comes from schnell's."""
    folder = family / name
    pipeline = FluxPipeline.from_pretrained(
        family / SCHNELL,
        transformer=FluxTransformer2DModel.from_pretrained(folder / "transformer", dtype=dtype),
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        dtype=dtype,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _assemble(parts: Path, transformer: str, scheduler: dict[str, float | bool]) -> FluxPipeline:
    dtype = torch.bfloat16
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**scheduler),
        vae=AutoencoderKL.from_pretrained(parts / "vae", dtype=dtype),
        text_encoder=CLIPTextModel.from_pretrained(parts / "text_encoder", dtype=dtype),
        tokenizer=CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        text_encoder_2=T5EncoderModel.from_pretrained(parts / "text_encoder_2", dtype=dtype),
        tokenizer_2=T5TokenizerFast.from_pretrained(parts / "tokenizer_2"),
        transformer=FluxTransformer2DModel.from_pretrained(parts / transformer, dtype=dtype),
    )


def _forget_origin(path: Path) -> None:
    """Drop the folder on the training machine that diffusers notes in its configurations."""
    content = json.loads(path.read_text())
    if content.pop("_name_or_path", None) is not None:
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
