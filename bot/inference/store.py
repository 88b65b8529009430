"""Quantised weights on disk: made once, tensor by tensor, and then loaded straight into place.

A stored part is a folder: safetensors shards, quanto's quantisation map, and a manifest with the
revision that it was made of and the size and CRC-32 of each file. It is written under another name
and renamed when it is complete, so there is a whole one or none.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import logging
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from huggingface_hub import constants, save_torch_state_dict
from optimum.quanto import quantization_map
from optimum.quanto.nn import QModuleMixin
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

_log = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"
QUANTIZATION_MAP = "quantization_map.json"
SHARD_BYTES = 2 * 10**9


class NotStored(Exception):
    """There is no part that is whole and of this revision; `str()` says what is wrong."""


class UnfamiliarWeights(Exception):
    """The files have tensors under names that the module does not know, or lack some."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One part of a repository: a folder with its config and, unless deleted, its weights."""

    repo_id: str
    part: str
    folder: Path

    @property
    def files(self) -> list[Path]:
        """The safetensors shards, in their order."""
        indices = sorted(self.folder.glob("*.safetensors.index.json"))
        if not indices:
            return sorted(self.folder.glob("*.safetensors"))
        names = json.loads(indices[0].read_text(encoding="utf-8"))["weight_map"].values()
        # beside the index, wherever that may point: they are deleted in the end
        return [self.folder / Path(name).name for name in sorted(set(names))]

    @property
    def commit(self) -> str | None:
        """The commit that the part is of, where its folder lies in the hub's cache."""
        for folder in (self.folder, *self.folder.parents):
            if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name):
                return folder.name
        return None

    @property
    def revision(self) -> str:
        """What tells one state of the part from another: the commit, or names, sizes and dates."""
        if self.commit is not None:
            return self.commit
        states = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in self.files]
        return hashlib.sha256(repr(states).encode()).hexdigest()

    @property
    def digest(self) -> str:
        """A hash of what is in the files, short and the same on every machine; they are read."""
        contents = hashlib.sha256()
        for file in (self.folder / "config.json", *self.files):
            contents.update(file.read_bytes())
        return contents.hexdigest()[:12]

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the weights one after the other, as they lie in the files."""
        for file in self.files:
            with safe_open(file, framework="pt") as shard:
                for name in shard.keys():  # noqa: SIM118 - not a mapping
                    yield name, shard.get_tensor(name)


class Store:
    """The quantised parts in one folder, for one data type of what is not quantised."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self._folder = folder
        self._dtype = str(dtype).removeprefix("torch.")
        self._compared: set[Path] = set()

    def path(self, source: Source) -> Path:
        """Return where a part lies, or would lie."""
        name = source.repo_id.replace("/", "--")
        return self._folder / f"{name}--{source.part}--qint8-{self._dtype}"

    def check(self, source: Source) -> None:
        """Raise NotStored unless a part of the source's revision is stored, each file in its size.

        What is in the files is not read; `compare` and `load` do.
        """
        self._manifest(source)

    def size(self, source: Source) -> int:
        """Return the bytes of the files of a stored part; raise NotStored."""
        return sum(entry["bytes"] for entry in self._manifest(source)["files"].values())

    def compare(self, source: Source, tell: Callable[[int], None] = lambda _: None) -> None:
        """Raise NotStored unless the files of a stored part are as they were written.

        `load` does not compare it once more then. `tell` hears of the bytes that are compared.
        """
        path, manifest = self.path(source), self._manifest(source)
        if path in self._compared:
            return
        files = {path / name: entry for name, entry in manifest["files"].items()}
        _compare_checksums(files, tell)
        self._compared.add(path)

    def load(self, source: Source, skeleton: torch.nn.Module, device: torch.device) -> None:
        """Fill a quantised skeleton with a stored part, on the device; raise NotStored.

        The files are mapped into memory and copied from there, one after the other: host memory
        never holds a second copy.
        """
        manifest, folder = self._manifest(source), self.path(source)
        if folder not in self._compared:
            files = {folder / name: entry for name, entry in manifest["files"].items()}
            _compare_checksums(files)
        kept = json.loads((folder / QUANTIZATION_MAP).read_text(encoding="utf-8"))
        if kept != quantization_map(skeleton):
            raise NotStored("was quantised in another way")
        tensors: dict[str, torch.Tensor] = {}
        try:
            for name in _shards(manifest):
                with safe_open(folder / name, framework="pt", device=str(device)) as shard:
                    tensors |= {key: shard.get_tensor(key) for key in shard.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise NotStored(f"cannot be read ({error})") from error
        for name, other in _same_tensors(folder).items():
            if other in tensors:
                tensors[name] = tensors[other]
        # all at once: quanto wants a layer's values and scales together, which files may part
        skeleton.load_state_dict(tensors, strict=False, assign=True)
        if missing := finish(skeleton, device):
            raise NotStored(f"lacks {missing[0]}")

    def save(self, source: Source, module: torch.nn.Module) -> None:
        """Keep a quantised part, in place of what was kept of it before; raise OSError."""
        path = self.path(source)
        self._compared.discard(path)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(self._folder / f"{path.name}.lock"), self._scratch(path) as scratch:
            new, old = scratch / "new", scratch / "old"
            new.mkdir()
            try:
                save_torch_state_dict(module.state_dict(), new, max_shard_size=SHARD_BYTES)
            except SafetensorError as error:
                raise _told_as_text(error) from error
            _write_json(new / QUANTIZATION_MAP, quantization_map(module))
            files = sorted(new.iterdir())
            with ThreadPoolExecutor() as threads:
                sums = threads.map(_checksum, files)
                entries = {
                    file.name: {"bytes": file.stat().st_size, "crc32": checksum}
                    for file, checksum in zip(files, sums, strict=True)
                }
            _write_json(new / MANIFEST, self._identity(source) | {"files": entries})
            if path.exists():
                path.rename(old)
            new.rename(path)
        _log.info("stored %s of %s at 8 bits", source.part, source.repo_id)

    def tidy(self, source: Source) -> None:
        """Remove what is not complete of a part, unless another process is writing it."""
        path = self.path(source)
        lock = FileLock(self._folder / f"{path.name}.lock", timeout=0)
        if next(self._leftovers(path), None) is not None:
            with suppress(Timeout), lock:
                self._remove_leftovers(path)

    def _identity(self, source: Source) -> dict[str, Any]:
        """Return what a stored part must agree with to be used."""
        return {
            "format": FORMAT,
            "repo_id": source.repo_id,
            "part": source.part,
            "revision": source.revision,
            "dtype": self._dtype,
            "quanto": version("optimum-quanto"),
        }

    def _manifest(self, source: Source) -> dict[str, Any]:
        folder = self.path(source)
        try:
            manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            files = {folder / name: entry for name, entry in manifest["files"].items()}
            identity = {name: manifest[name] for name in self._identity(source)}
        except FileNotFoundError:
            raise NotStored("is not there") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotStored(f"has no readable manifest ({error})") from error
        for name, wanted in self._identity(source).items():
            if identity[name] != wanted:
                raise NotStored(f"is of another {name} ({identity[name]}, not {wanted})")
        try:
            if any(file.stat().st_size != entry["bytes"] for file, entry in files.items()):
                raise NotStored("is damaged: a file has another size")
        except OSError as error:
            raise NotStored(f"is damaged ({error})") from error
        return manifest

    def _leftovers(self, path: Path) -> Iterator[Path]:
        return self._folder.glob(f".{path.name}-*")

    def _remove_leftovers(self, path: Path) -> None:
        for leftover in self._leftovers(path):
            shutil.rmtree(leftover, ignore_errors=True)

    @contextmanager
    def _scratch(self, path: Path) -> Iterator[Path]:
        """Make a folder beside a part for what is not complete, and remove it in the end."""
        self._remove_leftovers(path)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=self._folder))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def fill(
    skeleton: torch.nn.Module,
    tensors: Iterator[tuple[str, torch.Tensor]],
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Put weights into a skeleton on the meta device, quantising each as it arrives.

    Host memory holds one tensor at a time. Raise UnfamiliarWeights, where the module keeps its
    weights under other names than the files do.
    """
    for name, tensor in tensors:
        owner_name, _, own_name = name.rpartition(".")
        try:
            owner = skeleton.get_submodule(owner_name)
            known = getattr(owner, own_name)
        except AttributeError as error:
            raise UnfamiliarWeights(str(error)) from error
        if known.shape != tensor.shape:
            raise UnfamiliarWeights(f"{name} has the shape {tuple(tensor.shape)}")
        placed = tensor.to(device, dtype if tensor.is_floating_point() else None)
        if own_name in owner._buffers:
            setattr(owner, own_name, placed)
            continue
        setattr(owner, own_name, torch.nn.Parameter(placed, requires_grad=False))
        if isinstance(owner, QModuleMixin) and own_name == "weight":
            owner.input_scale = torch.ones((), dtype=dtype, device=device)
            owner.output_scale = torch.ones((), dtype=dtype, device=device)
            owner.freeze()
    if missing := finish(skeleton, device):
        raise UnfamiliarWeights(f"{missing[0]} is missing")


def finish(module: torch.nn.Module, device: torch.device) -> list[str]:
    """Tie what is shared and return the names of the weights that are still missing.

    Buffers that no file has, as numbers of positions, go to the device.
    """
    if isinstance(module, PreTrainedModel):
        module.tie_weights()
    module.eval().requires_grad_(False)
    for owner in module.modules():
        for name, buffer in owner.named_buffers(recurse=False):
            if not buffer.is_meta:
                owner._buffers[name] = buffer.to(device)
    weights = itertools.chain(module.named_parameters(), module.named_buffers())
    return [name for name, tensor in weights if tensor.is_meta]


def _same_tensors(folder: Path) -> dict[str, str]:
    """Return the names of tensors that are written once only, under the other names.

    save_torch_state_dict notes them in the index, or in the only shard where there is no index.
    """
    index = folder / constants.SAFETENSORS_INDEX_FILE
    only = folder / constants.SAFETENSORS_SINGLE_FILE
    try:
        if index.exists():
            notes: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))["metadata"]
        else:
            with safe_open(only, framework="pt") as shard:
                notes = shard.metadata() or {}
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise NotStored(f"cannot be read ({error})") from error
    return {name: other for name, other in notes.items() if isinstance(other, str)}


def _shards(manifest: dict[str, Any]) -> list[str]:
    return [name for name in manifest["files"] if name.endswith(".safetensors")]


def _compare_checksums(
    files: dict[Path, dict[str, int]], tell: Callable[[int], None] = lambda _: None
) -> None:
    try:
        with ThreadPoolExecutor() as threads:
            for entry, checksum in zip(files.values(), threads.map(_checksum, files), strict=True):
                if checksum != entry["crc32"]:
                    raise NotStored("is damaged: a checksum differs")
                tell(entry["bytes"])
    except OSError as error:
        raise NotStored(f"is damaged ({error})") from error


def _checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as stream:
        while block := stream.read(2**22):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _told_as_text(error: SafetensorError) -> OSError:
    """Return the error of the disk, as of one that is full, that safetensors has in its text."""
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]) if number else errno.EIO, str(error))


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
