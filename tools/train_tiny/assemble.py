"""The finished family in diffusers' folder layout, with what is shared only once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxPriorReduxPipeline,
    FluxTransformer2DModel,
)
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from transformers import (
    CLIPSegForImageSegmentation,
    CLIPTextModel,
    CLIPTokenizer,
    DepthAnythingForDepthEstimation,
    SiglipVisionModel,
    T5EncoderModel,
    T5TokenizerFast,
)

from .depth import build_depth_processor
from .redux import build_image_processor
from .segmenter import build_segmenter_processor

SCHNELL, DEV = "FLUX.1-schnell", "FLUX.1-dev"
FILL, KONTEXT = "FLUX.1-Fill-dev", "FLUX.1-Kontext-dev"
DEPTH, CANNY = "FLUX.1-Depth-dev", "FLUX.1-Canny-dev"
REDUX, DEPTH_ESTIMATOR = "FLUX.1-Redux-dev", "Depth-Anything-V2-Small-hf"
SEGMENTER = "clipseg-rd64-refined"
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


@dataclass(frozen=True, kw_only=True)
class Member:
    """A model of the family with a transformer of its own: its pipeline, and the stage it is of."""

    pipeline: type[DiffusionPipeline]
    stage: str
    scheduler: Mapping[str, float | bool]


MEMBERS = {
    SCHNELL: Member(pipeline=FluxPipeline, stage="schnell", scheduler=SCHNELL_SCHEDULER),
    DEV: Member(pipeline=FluxPipeline, stage="guidance", scheduler=DEV_SCHEDULER),
    FILL: Member(pipeline=FluxFillPipeline, stage="fill_guidance", scheduler=DEV_SCHEDULER),
    KONTEXT: Member(pipeline=FluxKontextPipeline, stage="kontext", scheduler=DEV_SCHEDULER),
    DEPTH: Member(pipeline=FluxControlPipeline, stage="depth", scheduler=DEV_SCHEDULER),
    CANNY: Member(pipeline=FluxControlPipeline, stage="canny", scheduler=DEV_SCHEDULER),
}


def save_family(parts: Path, family: Path) -> None:
    """Write each model whose part is trained: schnell with everything, the others what differs."""
    for name, member in MEMBERS.items():
        if not (parts / member.stage).exists():
            continue
        pipeline = _assemble(parts, member)
        if name == SCHNELL:
            pipeline.save_pretrained(family / name)
        else:
            pipeline.save_config(family / name)
            pipeline.scheduler.save_pretrained(family / name / "scheduler")
            pipeline.transformer.save_pretrained(family / name / "transformer")
    if (parts / "redux").exists():
        _assemble_prior(parts / "redux").save_pretrained(family / REDUX)
    if (parts / "depth_estimator").exists():
        estimator = DepthAnythingForDepthEstimation.from_pretrained(
            parts / "depth_estimator", dtype=torch.bfloat16
        )
        estimator.save_pretrained(family / DEPTH_ESTIMATOR)
        build_depth_processor().save_pretrained(family / DEPTH_ESTIMATOR)
    if (parts / "segmenter").exists():
        segmenter = CLIPSegForImageSegmentation.from_pretrained(
            parts / "segmenter", dtype=torch.bfloat16
        )
        segmenter.save_pretrained(family / SEGMENTER)
        build_segmenter_processor().save_pretrained(family / SEGMENTER)
        CLIPTokenizer.from_pretrained(parts / "tokenizer").save_pretrained(family / SEGMENTER)
    for path in family.glob("**/*.json"):
        _forget_origin(path)


def load_pipeline(family: Path, name: str, dtype: torch.dtype = torch.float32) -> Any:
    """A pipeline of the family; what its folder lacks comes from schnell's."""
    folder = family / name
    pipeline = MEMBERS[name].pipeline.from_pretrained(
        family / SCHNELL,
        transformer=FluxTransformer2DModel.from_pretrained(folder / "transformer", dtype=dtype),
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        dtype=dtype,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_prior(family: Path, dtype: torch.dtype = torch.float32) -> FluxPriorReduxPipeline:
    """The pipeline from images to tokens."""
    return FluxPriorReduxPipeline.from_pretrained(family / REDUX, dtype=dtype)


def _assemble(parts: Path, member: Member) -> Any:
    dtype = torch.bfloat16
    return member.pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**member.scheduler),
        vae=AutoencoderKL.from_pretrained(parts / "vae", dtype=dtype),
        text_encoder=CLIPTextModel.from_pretrained(parts / "text_encoder", dtype=dtype),
        tokenizer=CLIPTokenizer.from_pretrained(parts / "tokenizer"),
        text_encoder_2=T5EncoderModel.from_pretrained(parts / "text_encoder_2", dtype=dtype),
        tokenizer_2=T5TokenizerFast.from_pretrained(parts / "tokenizer_2"),
        transformer=FluxTransformer2DModel.from_pretrained(parts / member.stage, dtype=dtype),
    )


def _assemble_prior(folder: Path) -> FluxPriorReduxPipeline:
    dtype = torch.bfloat16
    encoder = SiglipVisionModel.from_pretrained(folder / "image_encoder", dtype=dtype)
    return FluxPriorReduxPipeline(
        image_encoder=encoder,
        feature_extractor=build_image_processor(),
        image_embedder=ReduxImageEncoder.from_pretrained(folder / "image_embedder", dtype=dtype),
    )


def _forget_origin(path: Path) -> None:
    """Drop what a configuration notes of the training machine: a folder, a missing package."""
    content = json.loads(path.read_text())
    before = json.dumps(content)
    content.pop("_name_or_path", None)
    if "feature_extractor" in content and content["feature_extractor"][0] is not None:
        content["feature_extractor"] = ["transformers", "SiglipImageProcessor"]
    if json.dumps(content) != before:
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
