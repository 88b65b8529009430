"""Downloads from a hub of our own, over connections that break, into a cache of our own."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock
from huggingface_hub import close_session, try_to_load_from_cache

from bot.errors import DiskFilled, DownloadBroke, DownloadDamaged, ModelUnavailable
from bot.inference import downloads, hub_files
from bot.inference.downloads import Downloads
from bot.inference.hub_files import HubFile
from bot.inference.progress import Lines
from bot.inference.repositories import Repositories
from bot.inference.tools import FAMILIES
from tests.hub import Hub, serve_hub

TINY = FAMILIES["tiny"].folder
assert TINY is not None

REPO = "black-forest-labs/FLUX.1-schnell"
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
NAME = "FLUX.1-schnell/transformer"


class Said(Lines):
    """Progress that keeps what it says."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.said: list[str] = []
        self.speaks = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def say(self, line: str) -> None:
        self.said.append(line)
        self._loop.call_soon_threadsafe(self.speaks.set)


@dataclass(frozen=True)
class Downloader:
    """Somebody who downloads from a hub."""

    hub: Hub
    repositories: Repositories
    progress: Said = field(default_factory=Said)

    @property
    def weights(self) -> HubFile:
        return self.file(WEIGHTS)

    def file(self, name: str) -> HubFile:
        files = hub_files.Hub(self.repositories).listing(REPO)
        return next(file for file in files if file.name == name)

    def fetch(self, file: HubFile) -> None:
        Downloads(self.repositories, self.progress).fetch(file)


@pytest.fixture
async def downloader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Downloader]:
    async with serve_hub(Path(str(TINY))) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(downloads, "WAITS", (0,))
        close_session()
        yield Downloader(hub, Repositories(family=FAMILIES["flux"], token=None))
        close_session()


async def weights(downloader: Downloader) -> HubFile:
    return await asyncio.to_thread(lambda: downloader.weights)


def is_right(file: HubFile) -> bool:
    """Tell whether the hub's library finds a file, and all that the hub has is in it."""
    found = try_to_load_from_cache(file.repo_id, file.name, revision=file.commit)
    original = Path(str(TINY)) / "FLUX.1-schnell" / file.name
    return isinstance(found, str) and Path(found).read_bytes() == original.read_bytes()


async def test_where_the_way_breaks_a_download_goes_on_at_that_byte(
    downloader: Downloader,
) -> None:
    downloader.hub.breaks_off, downloader.hub.breaks = NAME, 1
    file = await weights(downloader)
    await asyncio.to_thread(downloader.fetch, file)
    first, second = downloader.hub.starts
    assert (first, 0 < second < file.size) == (0, True)
    assert is_right(file)


async def test_after_the_last_try_what_has_arrived_stays_for_the_next_process(
    downloader: Downloader,
) -> None:
    downloader.hub.breaks_off = NAME
    file = await weights(downloader)
    with pytest.raises(DownloadBroke, match="the same command goes on from there") as broken:
        await asyncio.to_thread(downloader.fetch, file)
    assert str(broken.value).startswith(f"The model {REPO} could not be downloaded to its end: ")
    arrived = file.arrived
    assert 0 < arrived < file.size
    downloader.hub.breaks_off = None
    await asyncio.to_thread(downloader.fetch, file)
    assert downloader.hub.starts[-1] == arrived
    assert is_right(file)


async def test_a_hub_that_knows_no_parts_sends_all_of_it_again(downloader: Downloader) -> None:
    downloader.hub.breaks_off, downloader.hub.breaks = NAME, 1
    downloader.hub.ignores_ranges = True
    file = await weights(downloader)
    await asyncio.to_thread(downloader.fetch, file)
    assert downloader.hub.starts == [0, 0]
    assert is_right(file)
    assert downloader.progress.overall.done == file.size


async def test_what_arrives_damaged_is_named_and_downloaded_once_more(
    downloader: Downloader,
) -> None:
    downloader.hub.damages = 1
    file = await weights(downloader)
    await asyncio.to_thread(downloader.fetch, file)
    assert downloader.progress.said == [
        f"{WEIGHTS} of {REPO} arrived damaged, and is downloaded once more."
    ]
    assert downloader.hub.starts == [0, 0]
    assert is_right(file)


async def test_what_arrives_damaged_twice_is_not_kept(downloader: Downloader) -> None:
    downloader.hub.damages = 2
    file = await weights(downloader)
    with pytest.raises(DownloadDamaged, match=WEIGHTS):
        await asyncio.to_thread(downloader.fetch, file)
    assert (file.is_there, file.arrived) == (False, 0)


async def test_a_beginning_that_was_damaged_on_the_disk_is_not_built_upon(
    downloader: Downloader,
) -> None:
    file = await weights(downloader)
    file.partial.parent.mkdir(parents=True)
    file.partial.write_bytes(b"x" * 1000)
    await asyncio.to_thread(downloader.fetch, file)
    assert downloader.hub.starts == [1000, 0]
    assert is_right(file)


async def test_small_files_are_compared_with_what_git_calls_them(downloader: Downloader) -> None:
    file = await asyncio.to_thread(downloader.file, "tokenizer/tokenizer.json")
    await asyncio.to_thread(downloader.fetch, file)
    assert is_right(file)
    assert file.blob.name == file.checksum
    assert not file.is_large


async def test_what_the_hubs_library_left_unfinished_takes_no_room_any_more(
    downloader: Downloader,
) -> None:
    file = await weights(downloader)
    leftover = file.blob.with_name(f"{file.checksum}.0123abcd.incomplete")
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"x")
    await asyncio.to_thread(downloader.fetch, file)
    assert not leftover.exists()


async def test_a_full_disk_is_said_in_one_sentence(downloader: Downloader) -> None:
    file = await weights(downloader)
    file.partial.parent.mkdir(parents=True)
    file.partial.symlink_to("/dev/full")
    with pytest.raises(DiskFilled, match=r"^The disk of .* is full\. Make room there; "):
        await asyncio.to_thread(downloader.fetch, file)


async def test_a_file_that_another_process_downloads_is_waited_for(
    downloader: Downloader,
) -> None:
    file = await weights(downloader)
    file.lock.parent.mkdir(parents=True)
    with FileLock(file.lock):
        waiting = asyncio.create_task(asyncio.to_thread(downloader.fetch, file))
        await downloader.progress.speaks.wait()
        assert downloader.hub.sent == []
    await waiting
    assert "waits for it" in downloader.progress.said[0]
    assert is_right(file)


async def test_a_refusal_is_not_tried_again(downloader: Downloader) -> None:
    file = await weights(downloader)
    downloader.hub.gated = True
    with pytest.raises(ModelUnavailable, match="it is gated"):
        await asyncio.to_thread(downloader.fetch, file)
    assert not file.is_there
