"""What is to come and what it takes, of files that are there, half there, and not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bot.errors import ModelUnavailable, NotEnoughSpace
from bot.inference.hub_files import HubFile
from bot.inference.parts import Key
from bot.inference.plans import Need, Room, check_rooms, rooms
from bot.inference.rehearsal import Survey, table

GB = 10**9
REPO = "me/mine"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def file(name: str, size: int) -> HubFile:
    checksum = hashlib.sha256(name.encode()).hexdigest()
    return HubFile(repo_id=REPO, commit="a" * 40, name=name, size=size, checksum=checksum)


def need(part: str, size: int, *, stored: int | None = None) -> Need:
    files = (file(f"{part}/config.json", 500), file(f"{part}/model.safetensors", size))
    return Need(repo_id=REPO, files=files, key=Key(REPO, part, "8-bit"), stored=stored)


def test_what_has_arrived_of_a_file_is_not_to_come_again() -> None:
    transformer = need("transformer", 24 * GB)
    assert transformer.to_come == 24 * GB + 500
    partial = transformer.files[1].partial
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 1000)
    assert transformer.to_come == 24 * GB - 500
    assert transformer.there == 1000


def test_of_what_is_stored_only_its_configuration_is_to_come() -> None:
    transformer = need("transformer", 24 * GB, stored=12 * GB)
    assert [each.name for each in transformer.missing] == ["transformer/config.json"]
    assert (transformer.to_store, transformer.there) == (0, 12 * GB)
    assert transformer.kept(keep_originals=False) == 12 * GB + 500


def test_what_is_damaged_is_to_come_again() -> None:
    vae = file("vae/model.safetensors", 3)
    vae.blob.parent.mkdir(parents=True)
    vae.blob.write_bytes(b"abc")
    assert Need(repo_id=REPO, files=(vae,)).to_come == 0
    assert Need(repo_id=REPO, files=(vae,), damaged={vae}).to_come == 3


def test_an_original_makes_room_for_the_next_one_unless_it_is_kept(tmp_path: Path) -> None:
    needs = [need("text_encoder_2", 10 * GB), need("transformer", 24 * GB)]
    (disk,) = rooms(needs, tmp_path / "weights", keep_originals=False)
    at_8_bits = int(0.52 * 34 * GB)
    assert disk.needed == pytest.approx(at_8_bits + 24 * GB, abs=2000)
    (disk,) = rooms(needs, tmp_path / "weights", keep_originals=True)
    assert disk.needed == pytest.approx(at_8_bits + 34 * GB, abs=2000)


def test_cache_and_store_on_two_disks_are_looked_at_each(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one disk only")
    needs = [need("transformer", 24 * GB)]
    found = {disk.folder: disk.needed for disk in rooms(needs, memory, keep_originals=False)}
    assert found[memory] == int(0.52 * 24 * GB)
    assert found[tmp_path] == 24 * GB + 500


def test_what_is_missing_on_a_disk_is_said_in_one_sentence() -> None:
    check_rooms([Room(Path("/data"), 0, 0), Room(Path("/data"), 9 * GB, 11 * GB)])
    with pytest.raises(NotEnoughSpace) as refused:
        check_rooms([Room(Path("/data"), 9 * GB, 6 * GB)])
    assert str(refused.value) == (
        "The disk of /data lacks 4.0 GB: this needs 10.0 GB, and 6.0 GB are free there. "
        "Make room, or name fewer tools."
    )


def test_the_table_says_of_each_repository_what_is_there_and_what_comes() -> None:
    survey = Survey(
        users={REPO: ["schnell", "dev"], "me/closed": ["dev"]},
        refusals={"me/closed": ModelUnavailable("me/closed", "it is gated.")},
        unknown={"me/closed"},
    )
    needs = [need("transformer", 24 * GB, stored=12 * GB), need("text_encoder_2", 10 * GB)]
    assert list(table(needs, survey, keep_originals=False)) == [
        "model      for    there  to download  in the end  may be read",
        "me/mine    all  12.0 GB      10.0 GB     17.2 GB  yes",
        "me/closed  dev        ?            ?           ?  no",
        "together        12.0 GB      10.0 GB     17.2 GB",
    ]
