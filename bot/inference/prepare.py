"""Gets ready what tools need ahead of time: downloads it, quantises it, and tries that it loads."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from huggingface_hub import HfApi, constants, try_to_load_from_cache
from tqdm import tqdm

from bot.errors import NotEnoughSpace, NotPrepared
from bot.inference.parts import SEGMENTER, Key
from bot.inference.pipelines import Pipelines
from bot.inference.protocol import WorkerOptions
from bot.inference.requests import choose_tool
from bot.inference.segmentation import build_segmenter
from bot.inference.store import Source
from bot.inference.worker import build_pipelines
from bot.units import format_bytes

MARGIN = 10**9
"""Bytes that stay free on the disk."""


def prepare(options: WorkerOptions, names: Sequence[str], *, keep_originals: bool) -> None:
    """Download and quantise what tools need, all tools if none is named, and say what happens.

    What is there already is left alone, and a download that broke off goes on. Originals that are
    stored at 8 bits are deleted from the hub's cache, unless they are to be kept. Raise
    NotEnoughSpace before anything is downloaded, ModelUnavailable and NotPrepared.
    """
    assert options.store_folder is not None
    pipelines = build_pipelines(options, watch=quantizing_bar)
    family = pipelines.family
    tools = [choose_tool(family, name) for name in names] or list(family.tools().values())
    keys = dict.fromkeys(key for tool in tools for key in pipelines.keys(tool, "8-bit"))
    if any(tool.name == "fill" for tool in tools):
        keys[Key(options.segmenter, SEGMENTER, "None")] = None
    if family.folder is None:
        check_space(pipelines, keys, options.store_folder, keep_originals=keep_originals)
    freed, done = 0, set[Key]()
    for tool in tools:
        pipelines.load_all(tool, "8-bit")
        if tool.name == "fill":
            build_segmenter(options).load()
        for key in pipelines.keys(tool, "8-bit"):
            if key not in done:
                freed += _finish(pipelines, key, keep_original=keep_originals)
                done.add(key)
        _say(f"{tool.title} is ready.")
    if freed:
        _say(f"Originals of {format_bytes(freed)} are deleted; 8 bits do without them.")


def quantizing_bar(key: Key, source: Source) -> Iterator[tuple[str, torch.Tensor]]:
    """Pass on the weights of a part, with a bar of the bytes that are done."""
    total = sum(file.stat().st_size for file in source.files)
    with tqdm(total=total, desc=f"{key} to 8 bits", unit="B", unit_scale=True) as bar:
        for name, tensor in source.tensors():
            yield name, tensor
            bar.update(tensor.nbytes)
        bar.update(total - bar.n)  # the headers of the files


def check_space(
    pipelines: Pipelines, keys: Iterable[Key], store_folder: Path, *, keep_originals: bool
) -> None:
    """Raise NotEnoughSpace if the disks cannot take what is still to be downloaded and stored.

    An original that is deleted when it is stored counts only while it is there: the largest does.
    """
    downloads, passing, stored = 0, 0, 0
    for key in keys:
        if pipelines.parts.stored(key):
            continue
        total, missing = _sizes_on_the_hub(pipelines, key)
        if key.is_quantized:
            stored += total // 2
            if not keep_originals:
                passing = max(passing, missing)
                continue
        downloads += missing
    needs: dict[int, tuple[Path, int]] = {}
    cache = Path(constants.HF_HUB_CACHE)
    for folder, needed in ((cache, downloads + passing), (store_folder, stored)):
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        disk = there.stat().st_dev
        needs[disk] = (there, needed + needs.get(disk, (there, 0))[1])
    for there, needed in needs.values():
        free = shutil.disk_usage(there).free
        if needed and needed + MARGIN > free:
            raise NotEnoughSpace(there, format_bytes(needed + MARGIN), format_bytes(free))


def _sizes_on_the_hub(pipelines: Pipelines, key: Key) -> tuple[int, int]:
    """Return the bytes of a part's weights, and how many of them are not in the cache."""
    repositories = pipelines.parts.repositories
    with repositories.reaching(key.repo_id):
        info = HfApi(token=repositories.token).model_info(key.repo_id, files_metadata=True)
    total = missing = 0
    for file in info.siblings or ():
        folder, _, name = file.rfilename.rpartition("/")
        if folder != key.folder or not name.endswith(".safetensors"):
            continue
        total += file.size or 0
        if not isinstance(try_to_load_from_cache(key.repo_id, file.rfilename), str):
            missing += file.size or 0
    return total, missing


def _finish(pipelines: Pipelines, key: Key, *, keep_original: bool) -> int:
    """Make sure that a part is stored, and return the bytes of its original that were deleted."""
    if not key.is_quantized:
        return 0
    source = pipelines.parts.stored(key)
    if source is None:
        raise NotPrepared(str(key))
    return 0 if keep_original else delete_originals(source)


def delete_originals(source: Source) -> int:
    """Delete the weights of a part from the hub's cache and return the bytes that are free now.

    Other folders than the cache's are left alone, and files that another revision uses.
    """
    if source.commit is None:
        return 0
    freed = 0
    snapshots = next(folder for folder in source.folder.parents if folder.name == "snapshots")
    for file in source.files:
        if not file.exists():
            continue
        blob = file.resolve()
        file.unlink()
        if any(other.resolve() == blob for other in snapshots.glob(f"*/{source.part}/*")):
            continue
        freed += blob.stat().st_size if blob.exists() else 0
        blob.unlink(missing_ok=True)
    return freed


def _say(line: str) -> None:
    tqdm.write(line)
