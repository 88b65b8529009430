"""Finished pictures are looked at by a real classifier, or not shown: one for red, trained here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil, ViTModel

from bot.errors import ClassifierUnavailable
from bot.inference import watch
from bot.inference.classifier import Classifier
from bot.inference.engine import Engine
from bot.inference.executor import LocalExecutor
from bot.inference.protocol import WorkerOptions
from bot.inference.types import Progress, Request, Result

from .conftest import CPU, ask, make_pipelines

RED = "a large yellow star on a red background"
BLUE = "a large yellow star on a blue background"
SIDE = 32
CLASSIFIED = replace(ask(), classify=True)
Refusal = Callable[[str], AbstractContextManager[None]]


def scenes(count: int, seed: int) -> tuple[list[Image.Image], torch.Tensor]:
    """Return backgrounds with a patch in another colour, and which backgrounds are red."""
    generator = np.random.default_rng(seed)
    backgrounds = generator.integers(0, 256, (count, 3))
    red = np.arange(count) % 2 == 0
    backgrounds[red] = generator.integers((150, 0, 0), (256, 90, 90), (red.sum(), 3))
    backgrounds[~red, 0] //= 2
    pictures = []
    for background in backgrounds:
        pixels = np.full((SIDE, SIDE, 3), background, np.uint8)
        x, y = generator.integers(0, SIDE // 2, 2)
        pixels[y : y + SIDE // 2, x : x + SIDE // 2] = generator.integers(0, 256, 3)
        pictures.append(Image.fromarray(pixels))
    return pictures, torch.from_numpy(red.astype(np.int64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that calls red pictures `NSFW`, as the hub would have it."""
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=SIDE,
        patch_size=8,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=96,
        id2label={0: "normal", 1: "NSFW"},
        label2id={"normal": 0, "NSFW": 1},
    )
    model = ViTForImageClassification(config)
    processor = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    pictures, labels = scenes(512, seed=1)
    pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(60):
        batch = torch.randint(0, len(labels), (128,))
        loss = model(pixel_values=pixels[batch], labels=labels[batch]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("red")
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture
def changed(folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a copy of the model whose configuration says something else."""

    def change(**values: object) -> Path:
        path = shutil.copytree(folder, tmp_path / "changed")
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | values))
        return path

    return change


def look(path: Path, **options: tuple[str, ...]) -> tuple[float, ...]:
    """Return what a model says of a red and a blue picture."""
    plain = [Image.new("RGB", (300, 200), colour) for colour in ((220, 30, 30), (30, 60, 200))]
    return Classifier(str(path), **options).unsafe(plain)


async def test_the_worker_finds_the_red_pictures_among_those_it_paints(folder: Path) -> None:
    options = WorkerOptions(family="tiny", device="cpu", log_level="ERROR", classifier=str(folder))

    async def result(prompt: str, *, classify: bool) -> Result:
        request = replace(ask(prompt=prompt, count=2), classify=classify)
        *_, last = [event async for event in executor.run(request)]
        assert isinstance(last, Result)
        return last

    async with LocalExecutor([options]) as executor:
        red = await result(RED, classify=True)
        blue = await result(BLUE, classify=True)
        unasked = await result(RED, classify=False)
    assert len(red.unsafe) == len(red.images) == 2
    assert all(0.5 < each <= 1 for each in red.unsafe)
    assert all(0 <= each < 0.5 for each in blue.unsafe)
    assert unasked.unsafe == ()
    assert unasked.images == red.images


def test_only_the_named_labels_count_and_in_any_case(folder: Path) -> None:
    red, blue = look(folder, labels=("nsfw",))
    assert red > 0.5 > blue
    assert look(folder, labels=("Normal",)) == pytest.approx((1 - red, 1 - blue), abs=1e-6)
    assert look(folder, labels=("nsfw", "normal")) == pytest.approx((1, 1))


def test_labels_that_do_not_exclude_each_other_add_up_to_one_at_most(
    changed: Callable[..., Path],
) -> None:
    red, blue = look(changed(problem_type="multi_label_classification"), labels=("nsfw", "normal"))
    assert 0 < red <= 1
    assert 0 < blue <= 1


def painting(
    monkeypatch: pytest.MonkeyPatch, classifier: Classifier, request: Request
) -> list[str]:
    """Return the stages that a request comes to that is refused."""
    monkeypatch.setattr(watch, "PREVIEW_SECONDS", 0.0)
    seen: list[Progress] = []
    engine = Engine(make_pipelines(), CPU, classifier=classifier)
    with pytest.raises(ClassifierUnavailable):
        engine.run(request, report=seen.append)
    assert not any(progress.preview for progress in seen)
    return list(dict.fromkeys(progress.stage for progress in seen))


@pytest.fixture
def refused(caplog: pytest.LogCaptureFixture) -> Refusal:
    """Expect a sentence that names no folder of the operator's, and the reason in the log."""

    @contextmanager
    def expect(reason: str) -> Iterator[None]:
        with pytest.raises(ClassifierUnavailable) as error:
            yield
        assert str(error.value).endswith("fails now. The operator finds the reason in the log.")
        assert reason in caplog.text

    return expect


def test_without_a_classifier_nothing_is_painted_and_the_setting_is_named(engine: Engine) -> None:
    with pytest.raises(ClassifierUnavailable, match="set CLASSIFIER, which names no model"):
        engine.run(CLASSIFIED)
    assert engine.run(ask()).unsafe == ()


def test_what_cannot_be_loaded_is_known_before_anything_is_painted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    classifier = Classifier(str(tmp_path / "nowhere"))
    assert painting(monkeypatch, classifier, CLASSIFIED) == ["load"]


def test_a_classifier_that_breaks_lets_no_picture_or_preview_through(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    classifier = Classifier(str(folder))
    classifier.load()
    classifier._model.classifier.bias.data.fill_(float("nan"))
    stages = painting(monkeypatch, classifier, CLASSIFIED)
    assert stages == ["load", "encode", "denoise", "decode"]


def test_a_model_that_was_not_there_is_looked_for_again(
    refused: Refusal, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "later"
    classifier = Classifier(str(path))
    with refused("later could not be loaded: "):
        classifier.load()
    shutil.copytree(folder, path)
    classifier.load()


def test_labels_that_the_model_does_not_know_would_pass_everything_and_are_refused(
    refused: Refusal,
    folder: Path,
) -> None:
    with refused("none of CLASSIFIER_LABELS, but normal, NSFW"):
        look(folder, labels=("porn",))


def test_a_model_without_a_trained_head_is_refused(
    refused: Refusal, folder: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(folder, tmp_path / "headless")
    ViTModel.from_pretrained(folder).save_pretrained(path)
    shutil.copy(folder / "config.json", path)
    with refused("not trained to classify images"):
        look(path)


def test_a_model_of_another_kind_is_refused(refused: Refusal, changed: Callable[..., Path]) -> None:
    with refused("cannot be used: ValueError"):
        look(changed(model_type="t5"))


def test_weights_that_could_run_code_are_not_read(
    refused: Refusal, folder: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(folder, tmp_path / "pickled")
    model = ViTForImageClassification.from_pretrained(path)
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    with refused("could not be loaded"):
        look(path)


def test_a_model_of_the_hub_that_is_out_of_reach_is_a_sentence(refused: Refusal) -> None:
    with refused("me/mine could not be loaded: "):
        look(Path("me/mine"))
