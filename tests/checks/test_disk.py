"""The disk is compared to the weights that are still to come."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.checks.disk import check_disk
from bot.checks.finding import Finding
from bot.config import Settings
from bot.inference.tools import TOOLS

GB = 10**9


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that is not made yet."""
    return tmp_path / "data"


def examined(data: Path, free: int, family: str = "flux") -> Finding:
    """Return what is said with so many bytes free."""
    settings = Settings(flux_models="tiny" if family == "tiny" else "flux", data_dir=data)
    return check_disk(settings, data.parent / "hub", lambda path: free)


def store(data: Path, repo_id: str, part: str) -> None:
    """Let a part be stored at 8 bits."""
    folder = data / "weights" / f"{repo_id.replace('/', '--')}--{part}--qint8-bfloat16"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")


def test_all_models_need_their_room(data: Path) -> None:
    finding = examined(data, 100 * GB)
    assert finding.state == "warning"
    assert "the weights still take 88.2 GB, and 23.8 GB on their way" in finding.found
    assert finding.mend.endswith("python -m bot prepare schnell")
    assert examined(data, 120 * GB).state == "ok"


def test_what_is_stored_needs_no_more_room(data: Path) -> None:
    for repo_id in {tool.transformer_repo_id for tool in TOOLS.values()}:
        store(data, repo_id, "transformer")
    assert "still take 4.9 GB, and 9.5 GB" in examined(data, 20 * GB).found
    store(data, "black-forest-labs/FLUX.1-schnell", "text_encoder_2")
    finding = examined(data, 2 * GB)
    assert (finding.state, finding.found) == ("ok", "2.0 GB free for DATA_DIR")


def test_a_full_disk_is_a_fault_with_the_tiny_models_too(data: Path) -> None:
    assert examined(data, GB // 2, "tiny").state == "fault"
    assert examined(data, 2 * GB, "tiny").state == "ok"
