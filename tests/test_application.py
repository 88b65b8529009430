"""What keeps going beside the queue."""

from __future__ import annotations

import asyncio

import pytest

from bot import application


async def test_a_sweep_with_a_defect_is_logged_and_begins_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(application, "AFTER_A_DEFECT", 0.0)
    goes_on, starts = asyncio.Event(), []

    async def sweep() -> None:
        starts.append(len(starts))
        if len(starts) == 1:
            raise ZeroDivisionError
        goes_on.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(application.for_ever(sweep))
    async with asyncio.timeout(10):
        await goes_on.wait()
    task.cancel()
    assert "ZeroDivisionError" in caplog.text
    with pytest.raises(asyncio.CancelledError):
        await task
