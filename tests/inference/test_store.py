"""Weights at 8 bits are made once, kept whole, and never used when they are not."""

from __future__ import annotations

import json
import logging
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from bot.inference import parts as parts_module
from bot.inference import store as store_module
from bot.inference.engine import Engine
from bot.inference.parts import Key, Parts
from bot.inference.repositories import Repositories
from bot.inference.store import MANIFEST, NotStored, Source, Store, fill, finish
from bot.inference.tools import FAMILIES

from .conftest import CPU, ask, make_pipelines

TINY = FAMILIES["tiny"]
BFL = "black-forest-labs/FLUX.1"
TRANSFORMER = Key(f"{BFL}-schnell", "transformer", "8-bit")
STORED = [
    Key(f"{BFL}-schnell", "text_encoder_2", "8-bit"),
    TRANSFORMER,
    Key(f"{BFL}-Fill-dev", "transformer", "8-bit"),
    Key(f"{BFL}-Redux-dev", "image_encoder", "8-bit"),
    Key(f"{BFL}-Redux-dev", "image_embedder", "8-bit"),
]
DTYPES = [torch.bfloat16, torch.float32]


def make_parts(folder: Path | None, dtype: torch.dtype = torch.float32) -> Parts:
    store = Store(folder, dtype) if folder else None
    repositories = Repositories(family=TINY, token=None)
    return Parts(repositories, device=CPU, dtype=dtype, store=store)


def stored(folder: Path, key: Key = TRANSFORMER) -> Path:
    """Return the folder of a stored part."""
    (path,) = folder.glob(f"{key.repo_id.replace('/', '--')}--{key.part}--qint8-*[!k]")
    return path


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("key", STORED, ids=str)
def test_what_is_stored_is_bit_for_bit_what_quanto_makes_of_the_whole_module(
    tmp_path: Path, key: Key, dtype: torch.dtype
) -> None:
    reference = make_parts(None, dtype).load(key)
    made = make_parts(tmp_path, dtype).load(key)
    loaded = make_parts(tmp_path, dtype).load(key)
    assert equal(reference.module, made.module)
    assert equal(reference.module, loaded.module)
    assert reference.part == made.part == loaded.part
    assert not any(tensor.requires_grad for tensor in loaded.module.parameters())


@pytest.mark.parametrize("key", STORED[:4], ids=str)
def test_a_part_in_several_files_is_loaded_from_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: Key
) -> None:
    # as at full size; a layer's scales are in another file than its values, and the text encoder
    # has a tensor under two names
    monkeypatch.setattr(store_module, "SHARD_BYTES", 10**4)
    reference = make_parts(tmp_path).load(key)
    assert len(list(stored(tmp_path, key).glob("*.safetensors"))) > 1
    monkeypatch.setattr(parts_module, "fill", None)
    assert equal(make_parts(tmp_path).load(key).module, reference.module)


def test_buffers_that_no_file_has_go_to_the_device_too() -> None:
    encoder = make_parts(None)._empty(STORED[3])
    assert [buffer.device for buffer in encoder.buffers()] == [CPU]  # numbers of positions
    elsewhere = torch.device("meta")
    finish(encoder, elsewhere)
    assert [buffer.device for buffer in encoder.buffers()] == [elsewhere]


@pytest.mark.parametrize("quantization", ["8-bit", "None"])
@pytest.mark.parametrize("key", STORED, ids=str)
def test_the_bytes_of_a_part_are_known_before_it_is_loaded(key: Key, quantization: Any) -> None:
    key, parts = key._replace(quantization=quantization), make_parts(None)
    assert parts.expected_bytes(key) == parts.load(key).part.weights.actual


def test_a_second_start_quantises_nothing_and_paints_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Engine(make_pipelines(store_folder=tmp_path), CPU).run(ask())

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("quantised again")

    monkeypatch.setattr(parts_module, "fill", fail)
    again = Engine(make_pipelines(store_folder=tmp_path), CPU).run(ask())
    assert again.images == first.images
    assert again.fallback_reason is None


def flip_a_byte(folder: Path) -> None:
    (shard,) = folder.glob("*.safetensors")
    with shard.open("r+b") as stream:
        stream.seek(shard.stat().st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))


def cut_off(folder: Path) -> None:
    (shard,) = folder.glob("*.safetensors")
    os.truncate(shard, shard.stat().st_size - 1000)


def lose_a_shard(folder: Path) -> None:
    next(folder.glob("*.safetensors")).unlink()


def lose_the_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def garble_the_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text("[]")


def age(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"revision": "an older one"}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_byte, "is damaged: a checksum differs"),
        (cut_off, "is damaged: a file has another size"),
        (lose_a_shard, "is damaged"),
        (lose_the_manifest, "is not there"),
        (garble_the_manifest, "has no readable manifest"),
        (age, "is of another revision"),
    ],
)
def test_what_is_damaged_or_stale_is_made_anew(
    tmp_path: Path,
    damage: Callable[[Path], None],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reference = make_parts(tmp_path).load(TRANSFORMER)
    damage(stored(tmp_path))
    caplog.set_level(logging.INFO)
    mended = make_parts(tmp_path).load(TRANSFORMER)
    assert equal(reference.module, mended.module)
    assert mended.part.quantization == "8-bit"
    assert reason in caplog.text
    caplog.clear()
    make_parts(tmp_path).load(TRANSFORMER)
    assert "it is quantised now" not in caplog.text


def test_new_weights_of_the_same_name_are_quantised_anew(tmp_path: Path) -> None:
    folder = tmp_path / "transformer"
    shutil.copytree(Path(TINY.location(TRANSFORMER.repo_id)) / "transformer", folder)
    store = Store(tmp_path / "store", torch.float32)
    source = Source(repo_id="me/mine", part="transformer", folder=folder)
    store.save(source, make_parts(None).load(TRANSFORMER).module)
    store.check(source)
    os.utime(next(folder.glob("*.safetensors")), ns=(1, 1))
    with pytest.raises(NotStored, match="revision"):
        store.check(source)


def test_of_a_snapshot_of_the_hub_the_originals_may_be_deleted(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--me--mine" / "snapshots" / ("0123456789" * 4)
    folder = snapshot / "transformer"
    shutil.copytree(Path(TINY.location(TRANSFORMER.repo_id)) / "transformer", folder)
    source = Source(repo_id="me/mine", part="transformer", folder=folder)
    store = Store(tmp_path / "store", torch.float32)
    store.save(source, make_parts(None).load(TRANSFORMER).module)
    for shard in source.files:
        shard.unlink()
    store.check(source)
    moved = snapshot.with_name("f" * 40)
    snapshot.rename(moved)
    with pytest.raises(NotStored, match="revision"):
        store.check(Source(repo_id="me/mine", part="transformer", folder=moved / "transformer"))


def test_a_full_disk_costs_the_store_and_not_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_space(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: no space left (os error 28)")

    monkeypatch.setattr("bot.inference.store.save_torch_state_dict", no_space)
    result = Engine(make_pipelines(store_folder=tmp_path), CPU).run(ask(steps=1))
    assert result.quantization == "8-bit"
    assert "could not be stored: [Errno 28] Error while serializing" in caplog.text
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    make_parts(tmp_path).load(TRANSFORMER)
    path = stored(tmp_path)
    path.rename(path.with_name(f".{path.name}-killed"))
    make_parts(tmp_path).load(TRANSFORMER)
    assert [each for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_unfamiliar_names_cost_host_memory_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = Source.tensors

    def renamed(self: Source) -> Iterator[tuple[str, torch.Tensor]]:
        return ((f"old_prefix.{name}", tensor) for name, tensor in tensors(self))

    reference = make_parts(None).load(TRANSFORMER)
    monkeypatch.setattr(Source, "tensors", renamed)
    loaded = make_parts(tmp_path).load(TRANSFORMER)
    assert equal(reference.module, loaded.module)
    assert "is loaded as a whole before it is quantised" in caplog.text
    assert equal(reference.module, make_parts(tmp_path).load(TRANSFORMER).module)


def test_no_two_tensors_in_full_precision_are_held_while_quantising(tmp_path: Path) -> None:
    parts = make_parts(tmp_path)
    source = parts._source(TRANSFORMER, weights=True)
    module = parts_module.skeleton(parts._empty(TRANSFORMER))
    alive: list[int] = []

    def watched() -> Iterator[tuple[str, torch.Tensor]]:
        seen: list[weakref.ref[torch.Tensor]] = []
        for name, tensor in source.tensors():
            alive.append(sum(each() is not None for each in seen))
            if tensor.ndim == 2:
                seen.append(weakref.ref(tensor))
            yield name, tensor

    fill(module, watched(), CPU, torch.bfloat16)
    assert max(alive) <= 1
