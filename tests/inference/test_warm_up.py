"""A worker gets ready while nobody waits, and not at anybody's cost."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from bot.inference.engine import Engine
from bot.inference.parts import Parts
from bot.inference.protocol import WorkerOptions
from bot.inference.warm_up import warm_up
from bot.inference.worker import build_pipelines

from .conftest import CPU, ask, make_pipelines


def test_what_is_stored_is_loaded_before_the_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Engine(make_pipelines(store_folder=tmp_path), CPU).run(ask())
    pipelines = make_pipelines(store_folder=tmp_path)
    engine = Engine(pipelines, CPU)
    assert warm_up(engine, pipelines, lambda: True)
    monkeypatch.setattr(Parts, "load", None)
    assert engine.run(ask()).quantization == "8-bit"


def test_what_is_not_stored_is_not_downloaded_for_nobody(tmp_path: Path) -> None:
    pipelines = make_pipelines(store_folder=tmp_path)
    assert not warm_up(Engine(pipelines, CPU), pipelines, lambda: True)
    assert pipelines.loaded == ()


def test_a_job_that_comes_in_goes_first(tmp_path: Path) -> None:
    Engine(make_pipelines(store_folder=tmp_path), CPU).run(ask())
    pipelines = make_pipelines(store_folder=tmp_path)
    assert not warm_up(Engine(pipelines, CPU), pipelines, lambda: False)


def test_a_fault_is_left_to_the_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Engine(make_pipelines(store_folder=tmp_path), CPU).run(ask())
    pipelines = make_pipelines(store_folder=tmp_path)
    monkeypatch.setattr(Parts, "load", None)
    with caplog.at_level(logging.ERROR):
        assert not warm_up(Engine(pipelines, CPU), pipelines, lambda: True)
    assert "could not be warmed up" in caplog.text


def test_what_is_compiled_for_the_gpu_is_kept_with_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "")
    monkeypatch.delenv("TRITON_CACHE_DIR")
    build_pipelines(WorkerOptions(family="tiny", device="cpu", kernel_folder=tmp_path))
    assert os.environ["TRITON_CACHE_DIR"] == str(tmp_path)
    monkeypatch.setenv("TRITON_CACHE_DIR", "elsewhere")  # as the operator says
    build_pipelines(WorkerOptions(family="tiny", device="cpu", kernel_folder=tmp_path))
    assert os.environ["TRITON_CACHE_DIR"] == "elsewhere"
