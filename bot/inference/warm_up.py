"""Gets a worker ready while nobody waits: loads what the first job will likely ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable

from bot.inference.engine import Engine
from bot.inference.pipelines import Pipelines
from bot.inference.requests import text_to_image
from bot.inference.watch import Cancelled

_log = logging.getLogger(__name__)


def warm_up(engine: Engine, pipelines: Pipelines, is_wanted: Callable[[], bool]) -> bool:
    """Make one step of a picture with the first model, and tell whether that was done.

    Its weights come to the device, and what the GPU runs is compiled. Nothing happens where they
    are not stored at 8 bits yet, for that takes minutes, and it ends once `is_wanted` no longer.
    """
    tool = next(iter(pipelines.family.tools("generate").values()))
    keys = pipelines.keys(tool, "8-bit")
    if not all(pipelines.parts.stored(key) for key in keys if key.is_quantized):
        _log.info("%s is not stored at 8 bits yet: the first picture will wait for it", tool.title)
        return False
    request = text_to_image(
        pipelines.family, model=tool.name, prompt="warm-up", seed=0, steps=1, quantization="8-bit"
    )
    try:
        engine.run(request, cancelled=lambda: not is_wanted())
    except Cancelled:
        return False
    except Exception:
        # the first job will say what is wrong, to somebody who wants to know
        _log.exception("%s could not be warmed up", tool.title)
        return False
    _log.info("%s is ready", tool.title)
    return True
