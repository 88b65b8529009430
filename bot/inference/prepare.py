"""Gets ready what tools need ahead of time: downloads it, quantises it, and tries that it loads."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from huggingface_hub.utils import disable_progress_bars

from bot.errors import NotPrepared
from bot.inference.checksums import Checksums
from bot.inference.classifier import build_classifier
from bot.inference.downloads import Downloads, minding_the_disk
from bot.inference.hub_files import Hub, HubFile, snapshot
from bot.inference.parts import CLASSIFIER, SEGMENTER, Key, Parts
from bot.inference.plans import Need, check_rooms, rooms
from bot.inference.progress import Progress, show_progress
from bot.inference.protocol import WorkerOptions
from bot.inference.requests import choose_tool
from bot.inference.segmentation import build_segmenter
from bot.inference.store import NotStored, Source, Store
from bot.inference.tools import SHARED_REPO, Tool
from bot.inference.worker import build_pipelines
from bot.units import format_bytes

_log = logging.getLogger(__name__)


def prepare(
    options: WorkerOptions, names: Sequence[str], *, keep_originals: bool, verify: bool = False
) -> None:
    """Download and quantise what tools need, all tools if none is named, and say what happens.

    What is there already is left alone, and a download that broke off goes on; with `verify` all
    of it is compared with its checksums first. Originals that are stored at 8 bits are deleted
    from the hub's cache, unless they are to be kept. Raise NotEnoughSpace before anything is
    downloaded, DiskFilled, ModelUnavailable and NotPrepared.
    """
    work = Preparation(options, names, show_progress(), keep_originals=keep_originals)
    if verify:
        for file in work.verify():
            file.delete()
    work.plan()
    for tool in work.tools:
        work.make(tool)
    if work.freed:
        work.progress.say(
            f"Originals of {format_bytes(work.freed)} are deleted; 8 bits do without them."
        )


class Preparation:
    """What is prepared, and how far that is."""

    def __init__(
        self,
        options: WorkerOptions,
        names: Sequence[str],
        progress: Progress,
        *,
        keep_originals: bool,
        rehearsal: bool = False,
    ) -> None:
        assert options.store_folder is not None
        # of the hub's library, which has bars of its own, and advice to those who call it
        disable_progress_bars()
        warnings.filterwarnings("ignore", module=r"huggingface_hub\.")
        self.progress = progress
        self.store_folder = options.store_folder
        self.keep_originals = keep_originals
        self.freed = 0
        self._options = options
        self._pipelines = build_pipelines(options, watch=self._watch, make_parts=StrictParts)
        self._repositories = self._pipelines.parts.repositories
        store = self._pipelines.parts.store
        assert store is not None
        self._store = store
        self._checksums = Checksums(store, progress)
        self.hub = Hub(self._repositories, noting=not rehearsal)
        self._downloads = Downloads(self._repositories, progress)
        self._classifier = build_classifier(options)
        family = self._pipelines.family
        self.tools = [choose_tool(family, name) for name in names] or list(family.tools().values())
        self._quantized, self._to_quantize = 0, 0

    def repositories(self, tool: Tool) -> list[str]:
        """Return the repositories of the hub that a tool reads; a built-in family reads none."""
        beside = [repo_id for repo_id, _ in _folders_beside(tool)]
        read = dict.fromkeys([*(key.repo_id for key in self._keys(tool)), *beside])
        return [repo_id for repo_id in read if self._repositories.is_on_the_hub(repo_id)]

    def needs(self, *tools: Tool, leaving_out: Collection[str] = ()) -> list[Need]:
        """Return what tools need and what of it is there, in the order in which it is prepared.

        The hub is not asked for the repositories to leave out. Raise ModelUnavailable.
        """
        keys = dict.fromkeys(key for tool in tools for key in self._keys(tool))
        folders = dict.fromkeys(each for tool in tools for each in _folders_beside(tool))
        return [
            *(self._need_beside(*each) for each in folders if each[0] not in leaving_out),
            *(self._need(key) for key in keys if key.repo_id not in leaving_out),
        ]

    def verify(self, *, leaving_out: Collection[str] = ()) -> list[HubFile]:
        """Compare all that is there with its checksums, and return the files that are damaged."""
        needs = self.needs(*self.tools, leaving_out=leaving_out)
        there = [file for need in needs for file in need.files if file.is_there]
        damaged = [file for file in there if not self._checksums.is_right(file)]
        for need in needs:
            if need.key and need.stored:
                self._is_whole(need.key, need.stored)
        return damaged

    def plan(self) -> None:
        """Say what is to come; raise NotEnoughSpace, and ModelUnavailable if the hub forbids it."""
        needs = self.needs(*self.tools)
        for repo_id in dict.fromkeys(need.repo_id for need in needs if need.to_come):
            self.hub.ask(repo_id)
        for need in needs:
            if need.key and need.is_quantized and not need.stored:
                self._store.tidy(self._source(need.key))
        check_rooms(rooms(needs, self.store_folder, keep_originals=self.keep_originals))
        self._to_quantize = sum(need.is_quantized and not need.stored for need in needs)
        missing = [file for need in needs for file in need.missing]
        count = self.progress.overall
        count.total = sum(file.size for file in missing)
        count.done = sum(file.arrived for file in missing)
        if missing:
            already = f", of which {format_bytes(count.done)} are there" if count.done else ""
            self.progress.say(f"{format_bytes(count.total)} are to be downloaded{already}.")

    def make(self, tool: Tool) -> None:
        """Download and quantise what a tool lacks, one after the other, and try that it loads."""
        for need in self.needs(tool):
            if need.is_quantized:
                self._make_at_8_bits(need)
            else:
                self._fetch(need.missing)
        self._pipelines.load_all(tool, "8-bit")
        if tool.name == "fill":
            build_segmenter(self._options).load()
        if self._options.classifier is not None:
            self._classifier.load()
        self.progress.say(f"{tool.title} is ready.")

    def _make_at_8_bits(self, need: Need) -> None:
        """Store a part, unless it is, and let go of its original before the next one comes."""
        key = need.key
        assert key is not None
        if need.stored and not self._is_whole(key, need.stored):
            need = self._need(key)
            self.progress.overall.total += need.to_come
            self._to_quantize += 1
        if need.stored:
            self._fetch(need.missing)
        else:
            self._fetch(need.files)
            self._pipelines.drop_all()  # the part may take all of the device for itself
            self._quantized += 1
            self._pipelines.parts.load(key)
            self._pipelines.drop_all()
            self._checksums.damaged_parts.discard(key)
            if not self._need(key).stored:
                raise NotPrepared(str(key))
        if not self.keep_originals:
            self.freed += delete_originals(self._source(key))

    def _fetch(self, files: Sequence[HubFile]) -> None:
        """Download what is missing of files, and what is not right any more."""
        for file in files:
            if file.is_there and not self._checksums.is_right(file):
                file.delete()
                self.progress.overall.total += file.size
            self._downloads.fetch(file)
            self._checksums.note_right(file)

    def _watch(self, key: Key, source: Source) -> Iterator[tuple[str, torch.Tensor]]:
        """Pass on the weights of a part that is quantised."""
        total = sum(file.stat().st_size for file in source.files)
        title = f"{key.label} to 8 bits ({self._quantized} of {self._to_quantize})"
        with self.progress.piece(title, total, counts=False) as advance:
            for name, tensor in source.tensors():
                yield name, tensor
                advance(tensor.nbytes)
                total -= tensor.nbytes
            advance(total)  # the headers of the files

    def _is_whole(self, key: Key, stored: int) -> bool:
        return self._checksums.is_whole(key, self._source(key), stored)

    def _keys(self, tool: Tool) -> list[Key]:
        keys = self._pipelines.keys(tool, "8-bit")
        if tool.name == "fill":
            keys.append(Key(self._options.segmenter, SEGMENTER, "None"))
        if self._options.classifier is not None:
            keys.append(Key(self._options.classifier, CLASSIFIER, "None"))
        return keys

    def _need(self, key: Key) -> Need:
        files = tuple(self.hub.files(key.repo_id, key.folder, weights=True))
        stored = None
        if key.is_quantized and key not in self._checksums.damaged_parts:
            with suppress(NotStored):
                stored = self._store.size(self._source(key))
        damaged = self._checksums.damaged_files
        return Need(repo_id=key.repo_id, files=files, key=key, stored=stored, damaged=damaged)

    def _need_beside(self, repo_id: str, folder: str) -> Need:
        files = tuple(self.hub.files(repo_id, folder, weights=False))
        return Need(repo_id=repo_id, files=files, damaged=self._checksums.damaged_files)

    def _source(self, key: Key) -> Source:
        """Return what a part is made of, also before it is there."""
        location = Path(self._repositories.family.location(key.repo_id))
        files = self.hub.files(key.repo_id, key.folder, weights=True)
        folder = snapshot(key.repo_id, files[0].commit) if files else location
        return Source(repo_id=key.repo_id, part=key.part, folder=folder / key.folder)


class StrictParts(Parts):
    """Parts of which each that is quantised has to be stored."""

    def keep(self, key: Key, module: torch.nn.Module, source: Source, store: Store) -> None:
        """Store a part; raise DiskFilled and NotPrepared."""
        try:
            with minding_the_disk(store.path(source).parent):
                store.save(source, module)
        except OSError as error:
            _log.warning("%s at 8 bits could not be stored: %s", key, error)
            raise NotPrepared(str(key)) from error


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


def _folders_beside(tool: Tool) -> list[tuple[str, str]]:
    """Return the repositories and folders of what a tool needs beside weights."""
    shared = [(SHARED_REPO, name) for name in ("scheduler", "tokenizer", "tokenizer_2")]
    own = [(tool.transformer_repo_id, "scheduler")]
    prior = [(tool.repo_id, "feature_extractor")] if tool.base_repo_id is not None else []
    return [*shared, *own, *prior]
