"""The text encoders, small ones of FLUX.1's two kinds, and how training calls them."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from .tokenization import CLIP_LENGTH, TRAINING_LENGTH, CaptionEncoder

TEXT_WIDTH = 64


def build_text_encoders(captions: CaptionEncoder) -> tuple[CLIPTextModel, T5EncoderModel]:
    """Two text encoders of about 0.12 M parameters each, for the vocabularies of `captions`."""
    clip = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=round_up(captions.clip.get_vocab_size()),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CLIP_LENGTH,
            projection_dim=TEXT_WIDTH,
            bos_token_id=captions.start,
            eos_token_id=captions.end,
            pad_token_id=captions.end,
        )
    )
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=round_up(captions.t5.get_vocab_size()),
            d_model=TEXT_WIDTH,
            d_kv=16,
            d_ff=2 * TEXT_WIDTH,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            is_encoder_decoder=False,
            use_cache=False,
        )
    )
    return clip, t5


class PromptEncoder(nn.Module):
    """Both text encoders as FluxPipeline calls them, on ids of 32 tokens."""

    def __init__(self, clip: CLIPTextModel, t5: T5EncoderModel) -> None:
        super().__init__()
        self.clip, self.t5 = clip, t5

    def forward(self, clip_ids: Tensor, t5_ids: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Prompt embeddings (B, length, 64), padded as by the pipeline, and pooled ones (B, 64)."""
        t5_ids = functional.pad(t5_ids.long(), (0, length - TRAINING_LENGTH))
        clip_ids = clip_ids.long()
        hidden = self.clip(input_ids=clip_ids).last_hidden_state
        ends = clip_ids == self.clip.config.eos_token_id
        first_end = ends & (ends.cumsum(1) == 1)
        pooled = (hidden * first_end[..., None]).sum(1)
        return self.t5(input_ids=t5_ids)[0], pooled

    def save(self, folder: Path) -> None:
        """Write `text_encoder` and `text_encoder_2` in bfloat16."""
        with plain_embeddings(self):
            for model, name in ((self.clip, "text_encoder"), (self.t5, "text_encoder_2")):
                copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder / name)

    @classmethod
    def load(cls, folder: Path) -> "PromptEncoder":
        """Read what `save` wrote."""
        return cls(
            CLIPTextModel.from_pretrained(folder / "text_encoder"),
            T5EncoderModel.from_pretrained(folder / "text_encoder_2"),
        )


class GraphSafeEmbedding(torch.autograd.Function):
    """An embedding look-up whose backward neither sorts nor synchronises.

    PyTorch's own does both for more than 3,072 indices, which a CUDA graph cannot capture.
    """

    @staticmethod
    def forward(ctx, ids: Tensor, weight: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(ids)
        ctx.shape, ctx.dtype = weight.shape, weight.dtype
        return weight[ids]

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor]:  # type: ignore[no-untyped-def]
        (ids,) = ctx.saved_tensors
        total = torch.zeros(ctx.shape, device=gradient.device)
        total.index_add_(0, ids.flatten(), gradient.reshape(-1, ctx.shape[1]).float())
        return None, total.to(ctx.dtype)


def make_embeddings_graph_safe(model: nn.Module) -> None:
    """Let every embedding of the model look up through GraphSafeEmbedding."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            # On the instance, so that deleting it brings the class's own look-up back.
            module.__dict__["forward"] = partial(_look_up, module.weight)


@contextmanager
def plain_embeddings(model: nn.Module) -> Iterator[None]:
    """Put PyTorch's own look-ups back for the time of the block."""
    replaced = [module for module in model.modules() if "forward" in module.__dict__]
    for module in replaced:
        del module.__dict__["forward"]
    yield
    if replaced:
        make_embeddings_graph_safe(model)


def round_up(size: int) -> int:
    """The next multiple of 8."""
    return -(-size // 8) * 8


def _look_up(weight: Tensor, ids: Tensor) -> Tensor:
    embeddings: Tensor = GraphSafeEmbedding.apply(ids, weight)  # type: ignore[no-untyped-call]
    return embeddings
