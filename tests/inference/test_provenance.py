"""What a result says of what made it, to whoever wonders why a repetition differs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import bot
from bot.inference import int8, quantization
from bot.inference.engine import Engine
from bot.inference.metadata import read_metadata
from bot.inference.parts import Key, Parts
from bot.inference.pipelines import Pipelines
from bot.inference.repositories import Repositories
from bot.inference.store import Source
from bot.inference.tools import FAMILIES, TOOLS

from .conftest import CPU, PLENTY, ask, make_pipelines

TINY = FAMILIES["tiny"]
assert TINY.folder is not None
FOLDER = Path(TINY.folder)
DEV = "black-forest-labs/FLUX.1-dev"
TRANSFORMER = FOLDER / "FLUX.1-dev" / "transformer"


def test_a_result_and_its_pictures_say_what_made_them(engine: Engine) -> None:
    result = engine.run(ask(model="dev", steps=1))
    made_with = dict(result.made_with)
    revision = made_with.pop("revision")
    assert made_with == {
        "model": DEV,
        "weights": "tiny",
        "kernel": "quanto",
        "dtype": "float32",
        "device": "CPU",
        "torch": version("torch"),
        "diffusers": version("diffusers"),
        "transformers": version("transformers"),
        "optimum-quanto": version("optimum-quanto"),
        "bot": bot.__version__,
    }
    assert revision == Source(repo_id=DEV, part="transformer", folder=TRANSFORMER).digest
    said = read_metadata(result.images[0])
    assert said is not None
    assert said["made_with"] == result.made_with


def test_full_precision_needs_no_kernel_whether_asked_for_or_fallen_back_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Engine(make_pipelines(), CPU).run(ask(steps=1, quantization="None"))
    assert (asked.quantization, asked.made_with["kernel"]) == ("None", "none")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel for this device")

    monkeypatch.setattr(quantization, "quantize", fail)
    fallen_back = Engine(make_pipelines(), CPU).run(ask(steps=1))
    assert (fallen_back.quantization, fallen_back.made_with["kernel"]) == ("None", "none")


def test_the_fused_kernels_count_until_they_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "obstacle", lambda *_: None)  # as on a GPU
    pipelines = make_pipelines()
    tool = TOOLS["dev"]
    pipelines.denoiser(tool, "8-bit")
    assert pipelines.kernel(tool, "8-bit") == "fused"
    component = pipelines._components[Key(DEV, "transformer", "8-bit")]
    assert component.int8 is not None
    component.int8.failure = "RuntimeError: unsupported toolchain"
    assert pipelines.kernel(tool, "8-bit") == "quanto"


def test_redux_names_its_own_model_and_the_revision_of_devs_transformer(
    pipelines: Pipelines,
) -> None:
    _, dev = pipelines.denoiser(TOOLS["dev"], "8-bit")
    _, redux = pipelines.denoiser(TOOLS["redux"], "8-bit")
    assert dev.revision == redux.revision is not None
    _, schnell = pipelines.denoiser(TOOLS["schnell"], "8-bit")
    assert schnell.revision != dev.revision


def test_the_hash_of_built_in_weights_knows_no_dates_and_sees_any_change(tmp_path: Path) -> None:
    folder = tmp_path / "transformer"
    shutil.copytree(TRANSFORMER, folder, copy_function=shutil.copy)  # without their dates
    moved = Source(repo_id=DEV, part="transformer", folder=folder)
    original = replace(moved, folder=TRANSFORMER)
    assert moved.digest == original.digest
    (weights,) = moved.files
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert moved.digest != original.digest


def test_what_lies_in_the_hubs_cache_is_named_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--black-forest-labs--FLUX.1-dev"
    shutil.copytree(FOLDER / "FLUX.1-dev", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repositories = Repositories(family=FAMILIES["flux"], token=None)
    folder = repositories.present(DEV, "transformer")
    assert folder is not None
    assert Source(repo_id=DEV, part="transformer", folder=folder).commit == commit
    assert repositories.present("me/mine", "transformer") is None


def test_what_comes_from_the_store_is_of_the_same_revision(tmp_path: Path) -> None:
    revisions = set()
    for _ in range(2):
        pipelines = Pipelines(
            TINY,
            device=CPU,
            dtype=torch.float32,
            device_budget=PLENTY,
            host_budget=PLENTY,
            store_folder=tmp_path,
        )
        revisions.add(pipelines.denoiser(TOOLS["dev"], "8-bit")[1].revision)
    assert len(revisions) == 1
    assert isinstance(pipelines.parts, Parts)
    assert pipelines.parts.stored(Key(DEV, "transformer", "8-bit"))
