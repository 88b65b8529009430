"""An export: whole in as many zip files as it takes, none of them too large."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from bot import export
from bot.export import OVERHEAD, pack, plan

RECORDS = {"jobs": [{"prompt": "a «cat» 🐈"}]}


def write(folder: Path, **sizes: int) -> list[Path]:
    """Write files of noise, which no compression makes smaller."""
    (folder / "images").mkdir()
    files = [folder / "images" / name for name in sizes]
    for file, size in zip(files, sizes.values(), strict=True):
        file.write_bytes(os.urandom(size))
    return files


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_what_fits_is_one_file(tmp_path: Path) -> None:
    files = write(tmp_path, a=1000, b=1000)
    planned = await plan(RECORDS, files, 10_000)
    (part,) = planned.parts
    found = unpacked(await pack(part))
    assert json.loads(found.pop("records.json")) == RECORDS
    assert found == {f"images/{file.name}": file.read_bytes() for file in files}
    assert planned.left_out == 0


async def test_what_does_not_fit_is_several_files_none_of_them_too_large(tmp_path: Path) -> None:
    files = write(tmp_path, **{f"file{n:02}": 1500 + 100 * n for n in range(20)})
    planned = await plan(RECORDS, files, 10_000)
    packed = [await pack(part) for part in planned.parts]
    assert len(packed) > 3
    assert all(len(content) <= 10_000 for content in packed)
    names = [name for content in packed for name in unpacked(content)]
    assert names == ["records.json", *(f"images/{file.name}" for file in files)]


async def test_what_is_too_large_or_too_much_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_PARTS", 2)
    files = write(tmp_path, huge=20_000, a=6000, b=6000, c=6000)
    planned = await plan(RECORDS, files, 10_000)
    names = [entry.name for part in planned.parts for entry in part]
    assert names == ["records.json", "images/a", "images/b"]
    assert planned.left_out == 2


async def test_a_file_as_large_as_can_be_still_fits(tmp_path: Path) -> None:
    files = write(tmp_path, exact=10_000 - 2 * OVERHEAD)
    planned = await plan(RECORDS, files, 10_000)
    assert [len(await pack(part)) <= 10_000 for part in planned.parts] == [True, True]
    assert planned.left_out == 0


async def test_a_file_that_has_gone_is_left_out(tmp_path: Path) -> None:
    files = write(tmp_path, a=10, b=10)
    files[0].unlink()
    (part,) = (await plan(RECORDS, files, 10_000)).parts
    files[1].unlink()
    assert list(unpacked(await pack(part))) == ["records.json"]
