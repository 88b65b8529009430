"""The family's two small tokenizers: sentence pieces for T5 and byte pairs for CLIP."""

import json
import math
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5Tokenizer

from .captions import ADJECTIVES, OPENINGS, caption_scene
from .edits import sample_edit
from .scenes import sample_scene

TRAINING_LENGTH = 32
"""Tokens of a caption while training; one caption in ten thousand is longer, and cut."""
CLIP_LENGTH, T5_LENGTH = 77, 512
T5_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"-()/&+▁"
EVERYDAY_WORDS = (
    *("please", "draw", "show", "me", "create", "generate", "some", "few", "two", "three", "both"),
    *("very", "cat", "dog", "car", "house", "tree", "face", "man", "woman", "sky", "sea", "sun"),
    *("moon", "light", "dark", "color", "colour", "shape", "object", "thing", "next", "near"),
    *("far", "with", "of", "the", "my", "your", "this", "that", "is", "are", "it", "its", "side"),
    *("same", "different"),
)
CLIP_PATTERN = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
COMMON = 20
"""Rarer words are the babble of `captions`, which the tokenizers are not to learn."""
START, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizers(folder: Path) -> None:
    """Write `tokenizer` (CLIP) and `tokenizer_2` (T5) into the folder."""
    corpus = _corpus()
    build_clip_tokenizer(corpus).save_pretrained(folder / "tokenizer")
    build_t5_tokenizer(corpus).save_pretrained(folder / "tokenizer_2")


def build_clip_tokenizer(corpus: list[str]) -> CLIPTokenizer:
    """Byte pairs, lower-cased; every byte has a token of its own, so nothing is unknown."""
    trainer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    trainer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ]
    )
    trainer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=900,
            min_frequency=2,
            initial_alphabet=alphabet,
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    model = json.loads(trainer.to_str())["model"]
    vocabulary: dict[str, int] = dict(model["vocab"])
    for token in (*(f"{letter}</w>" for letter in alphabet), START, END):
        vocabulary.setdefault(token, len(vocabulary))
    merges = [tuple(pair) for pair in model["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLIP_LENGTH)


def build_t5_tokenizer(corpus: list[str]) -> T5Tokenizer:
    """Unigram pieces, lower-cased, where every word of the corpus is one piece."""
    trainer = Tokenizer(models.Unigram())
    trainer.normalizer = normalizers.Lowercase()
    trainer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True),
        ]
    )
    special = ["<pad>", "</s>", "<unk>"]
    trainer.train_from_iterator(
        corpus,
        trainers.UnigramTrainer(
            vocab_size=320,
            special_tokens=special,
            unk_token="<unk>",
            initial_alphabet=list(T5_ALPHABET),
            show_progress=False,
        ),
    )
    learned = json.loads(trainer.to_str())["model"]["vocab"][len(special) :]
    # The trainer prunes short frequent words such as "a" and "on"; as whole pieces, scored by
    # their frequency, they win over their parts.
    counts = Counter(word.rstrip(".,") for text in corpus for word in text.lower().split())
    total = counts.total()
    scores = {piece: score - 4 for piece, score in learned}
    scores |= {f"▁{w}": math.log(n / total) for w, n in counts.items() if w}
    scores |= {"▁": -9.0, ".": -3.0, ",": -3.0}
    scores = dict.fromkeys(T5_ALPHABET, -12.0) | scores
    vocabulary = [(token, 0.0) for token in special]
    vocabulary += sorted(scores.items(), key=lambda item: -item[1])
    return T5Tokenizer(
        vocab=vocabulary,
        extra_ids=0,
        additional_special_tokens=[],
        _spm_precompiled_charsmap=_lower_case_map(corpus),
        model_max_length=T5_LENGTH,
    )


class CaptionEncoder:
    """Turns captions into the token ids that the pipelines would compute, cut to 32 tokens."""

    def __init__(self, folder: Path) -> None:
        self.t5 = Tokenizer.from_file(str(folder / "tokenizer_2" / "tokenizer.json"))
        self.clip = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
        vocabulary = self.clip.get_vocab()
        self.start, self.end = vocabulary[START], vocabulary[END]

    def __call__(self, captions: list[str]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """T5 ids padded with 0 and CLIP ids padded with the end token, both (N, 32)."""
        return _stack(self.t5, captions, pad=0), _stack(self.clip, captions, pad=self.end)


def _stack(tokenizer: Tokenizer, captions: list[str], pad: int) -> NDArray[np.int16]:
    ids = np.full((len(captions), TRAINING_LENGTH), pad, np.int16)
    for row, encoding in zip(ids, tokenizer.encode_batch(captions), strict=True):
        tokens = encoding.ids
        if len(tokens) > TRAINING_LENGTH:
            tokens = tokens[: TRAINING_LENGTH - 1] + tokens[-1:]
        row[: len(tokens)] = tokens
    return ids


def _corpus() -> list[str]:
    """Captions and edit instructions, with a few everyday words among them."""
    rng = Random(5)
    captions = [caption_scene(sample_scene(rng), rng) for _ in range(60_000)]
    captions += [sample_edit(rng).instruction for _ in range(20_000)]
    words = [*EVERYDAY_WORDS, *ADJECTIVES, *" ".join(OPENINGS).split()]
    captions += [" ".join(rng.sample(words, 4)) for _ in range(2_000)]
    counts = Counter(word for text in captions for word in text.split())
    return [text for text in captions if all(counts[word] >= COMMON for word in text.split())]


def _lower_case_map(corpus: list[str]) -> bytes:
    """Sentencepiece's compiled form of "A to Z become a to z"; there is no other way to make it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rules = "".join(f"{code:X}\t{code + 32:X}\n" for code in range(ord("A"), ord("Z") + 1))
        (folder / "rules.tsv").write_text(rules)
        (folder / "corpus.txt").write_text("\n".join(corpus[:3000]))
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "corpus.txt"),
            model_prefix=str(folder / "model"),
            vocab_size=120,
            normalization_rule_tsv=str(folder / "rules.tsv"),
            hard_vocab_limit=False,
            minloglevel=2,
        )
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString((folder / "model.model").read_bytes())
    return model.normalizer_spec.precompiled_charsmap
