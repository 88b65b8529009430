"""Trains the segmenter, a small CLIPSeg, to find what phrases name in scenes."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegTextConfig,
    CLIPSegVisionConfig,
    ViTImageProcessorPil,
)

from .data import CHUNK
from .depth import MEAN, SPREAD
from .optimizer import FlatMuon
from .phrases import PARTS, sample_phrase
from .scenes import CANVAS, encode_scene, sample_scene
from .studio import DRAWING_BATCH, Studio
from .styles import draw_styled
from .text import make_embeddings_graph_safe, plain_embeddings, round_up
from .tokenization import CLIP_LENGTH, CaptionEncoder
from .training import Budget, Step, timed, train

SECONDS = 190.0
LEARNING_RATE = 1.5e-3
BATCH_SIZE = 256
PATCH = 8
WIDTH, LAYERS, HEADS = 128, 4, 4
TEXT_WIDTH, TEXT_LAYERS = 64, 2
REDUCED = 64
"""Width of the decoder, as in CLIPSeg itself."""
LOGITS = CANVAS // 2
"""Side of the mask that the decoder gives: it enlarges each patch fourfold."""
PHRASES = 8
"""Of each scene."""
PHRASE_SEED = 61
# Pictures of any shape are squeezed into a square; scenes are drawn in these heights and widths.
CANVASES = (
    *((CANVAS, CANVAS),) * 5,
    *((CANVAS, 192), (192, CANVAS), (80, CANVAS), (CANVAS, 80)),
)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """N pictures (N, 3, 128, 128) and which part each pixel shows (N, 128, 128), both in bytes.

    For each there are phrases: `ids` (N, 8, 32), and which parts they mean (N, 8, 3).
    """

    images: Tensor
    parts: Tensor
    ids: Tensor
    meant: Tensor


def build_segmenter(captions: CaptionEncoder) -> CLIPSegForImageSegmentation:
    """An untrained segmenter of 0.9 M parameters for the vocabulary of CLIP's tokenizer."""
    model = CLIPSegForImageSegmentation(
        CLIPSegConfig(
            text_config=CLIPSegTextConfig(
                vocab_size=round_up(captions.clip.get_vocab_size()),
                hidden_size=TEXT_WIDTH,
                intermediate_size=2 * TEXT_WIDTH,
                num_hidden_layers=TEXT_LAYERS,
                num_attention_heads=4,
                max_position_embeddings=CLIP_LENGTH,
                bos_token_id=captions.start,
                eos_token_id=captions.end,
                pad_token_id=captions.end,
            ).to_dict(),
            vision_config=CLIPSegVisionConfig(
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=LAYERS,
                num_attention_heads=HEADS,
                image_size=CANVAS,
                patch_size=PATCH,
            ).to_dict(),
            projection_dim=TEXT_WIDTH,
            extract_layers=list(range(1, LAYERS)),
            reduce_dim=REDUCED,
            decoder_intermediate_size=2 * REDUCED,
            use_complex_transposed_convolution=True,
        )
    )
    decoder = model.decoder
    for part in (
        decoder.film_mul,
        decoder.film_add,
        decoder.reduces,
        decoder.transposed_convolution,
    ):
        for layer in part.modules():
            # transformers draws these with a standard deviation of 1, which no logit survives
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                layer.reset_parameters()
    return model


def build_segmenter_processor() -> ViTImageProcessorPil:
    """What prepares pictures for it: as CLIPSeg's own, but for the size."""
    return ViTImageProcessorPil(
        size={"height": CANVAS, "width": CANVAS}, image_mean=list(MEAN), image_std=list(SPREAD)
    )


def train_segmenter(studio: Studio, budget: Budget) -> None:
    """Train text encoder, picture encoder and decoder together, and save them."""
    torch.manual_seed(0)
    model = build_segmenter(CaptionEncoder(studio.folder)).to(studio.device, studio.dtype).train()
    make_embeddings_graph_safe(model.clip.text_model)
    with timed("drawing pictures and describing their parts"):
        pool = _fill_pool(studio)
    step = Step("phrases", partial(_loss, model, pool, studio), compiles=False)
    train(
        "segmenter",
        FlatMuon([model]),
        [step],
        budget=budget,
        learning_rate=LEARNING_RATE,
        checkpoint=studio.folder / "segmenter.checkpoint.pt",
    )
    with plain_embeddings(model):
        studio.save(model.eval(), "segmenter")


def find(model: CLIPSegForImageSegmentation, images: Tensor, ids: Tensor) -> Tensor:
    """Logits (B, 64, 64) of what phrases (B, length) mean in normalised images (B, 3, 128, 128).

    The model's own `forward` computes the same, but learns nothing beyond the decoder.
    """
    layers = model.clip.vision_model(pixel_values=images, output_hidden_states=True).hidden_states
    words = model.clip.get_text_features(input_ids=ids).pooler_output
    found: Tensor = model.decoder([layers[n + 1] for n in model.extract_layers], words).logits
    return found


def _loss(model: CLIPSegForImageSegmentation, pool: Pool, studio: Studio) -> Tensor:
    count, device = max(2, BATCH_SIZE // studio.scale.batch_divisor), pool.images.device
    chosen = torch.randint(len(pool.images), (count,), device=device)
    phrase = torch.randint(PHRASES, (count,), device=device)
    pixels = _normalize(pool.images[chosen].float() / 255).to(studio.dtype)
    logits = find(model, pixels, pool.ids[chosen, phrase].long()).float()
    meant = pool.meant[chosen, phrase].float()
    target = meant.gather(1, pool.parts[chosen].long().flatten(1)).view(count, CANVAS, CANVAS)
    target = functional.avg_pool2d(target, CANVAS // LOGITS)
    wrong = functional.binary_cross_entropy_with_logits(logits, target)
    found = logits.sigmoid()
    common, both = (found * target).sum((1, 2)), (found + target).sum((1, 2))
    # Dice, which counts the edge of a small object as much as that of a large one
    shares = 1 - (2 * common + 1) / (both + 1)
    return wrong + 0.2 * (shares * meant.amax(1)).mean()


@torch.no_grad()
def _fill_pool(studio: Studio) -> Pool:
    """Draw the scenes in several sizes and styles, and squeeze them into squares."""
    rows, ids, meant = _describe(studio.scale.lessons, studio.folder)
    generator = torch.Generator(studio.device).manual_seed(3)
    images, parts = [], []
    for index, batch in enumerate(rows.to(studio.device).split(DRAWING_BATCH // 4)):
        height, width = CANVASES[index % len(CANVASES)]
        pictures, objects = draw_styled(studio.codec, batch, height, width, generator)
        pictures = functional.interpolate(
            pictures, size=(CANVAS, CANVAS), mode="bilinear", antialias=True
        )
        objects = functional.interpolate(objects[:, None], (CANVAS, CANVAS), mode="nearest-exact")
        images.append((pictures.clamp(0, 1) * 255).round().to(torch.uint8))
        parts.append(objects[:, 0].to(torch.uint8))
    return Pool(
        images=torch.cat(images),
        parts=torch.cat(parts),
        ids=ids.to(studio.device),
        meant=meant.to(studio.device),
    )


def _describe(count: int, tokenizers: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, ids and meant parts of so many scenes, from as many processes as there are cores."""
    sizes = [CHUNK] * (count // CHUNK) + [count % CHUNK] * (count % CHUNK > 0)
    seeds = range(PHRASE_SEED * 1_000_000, PHRASE_SEED * 1_000_000 + len(sizes))
    with ProcessPoolExecutor() as pool:
        chunks = list(pool.map(partial(_describe_chunk, tokenizers), sizes, seeds))
    rows, ids, meant = (
        torch.from_numpy(np.concatenate(some)) for some in zip(*chunks, strict=True)
    )
    return rows, ids, meant


def _describe_chunk(
    tokenizers: Path, count: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int16], NDArray[np.bool_]]:
    encode, rng = CaptionEncoder(tokenizers), Random(seed)
    scenes = [sample_scene(rng) for _ in range(count)]
    phrases = [sample_phrase(scene, rng) for scene in scenes for _ in range(PHRASES)]
    _, ids = encode([phrase.words for phrase in phrases])
    meant = np.array([phrase.meant for phrase in phrases], np.bool_)
    rows = np.array([encode_scene(scene) for scene in scenes], np.float32)
    return rows, ids.reshape(count, PHRASES, -1), meant.reshape(count, PHRASES, PARTS)


def _normalize(images: Tensor) -> Tensor:
    # Filled in on the device: a CUDA graph cannot copy from the host.
    return torch.stack([(images[:, i] - MEAN[i]) / SPREAD[i] for i in range(3)], 1)
