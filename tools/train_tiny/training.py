"""The generic trainer: CUDA graphs, a budget in seconds, checkpoints."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from .optimizer import FlatMuon

WARM_UP_STEPS = 300
GRAPH_WARM_UPS = 3
STEPS_BETWEEN_LOOKS = 20
SECONDS_BETWEEN_REPORTS = 10.0
SECONDS_BETWEEN_CHECKPOINTS = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a stage may train; `steps` ends it earlier, for a trial of the code."""

    seconds: float
    steps: int | None = None

    def spent(self, seconds: float, steps: int) -> float:
        """The spent fraction, 1 or more at the end."""
        by_steps = steps / self.steps if self.steps is not None else 0.0
        return max(seconds / self.seconds, by_steps)


class Step:
    """One kind of training step: a loss and the optimiser's move, captured as a CUDA graph."""

    def __init__(
        self, name: str, loss: Callable[[], Tensor], share: int = 1, compiles: bool = True
    ) -> None:
        self.name, self.loss, self.share, self.compiles = name, loss, share, compiles
        self.replay: Callable[[], None] | None = None
        self.total: Tensor | None = None
        self.count = 0

    def capture(self, optimizer: FlatMuon) -> None:
        """Get ready to run with the optimiser."""
        self.total = torch.zeros_like(optimizer.count)

        def move() -> None:
            loss = self.loss()
            optimizer.step(loss)
            assert self.total is not None
            self.total.add_(loss.detach())

        with timed(f"capturing {self.name}"), compiling(self.compiles):
            self.replay = capture_graph(move, optimizer.weights.device)
        self.total.zero_()

    def run(self) -> None:
        """Take the step once."""
        assert self.replay is not None
        self.replay()
        self.count += 1

    def mean_loss(self) -> float:
        """The mean loss since the last call."""
        assert self.total is not None
        mean = self.total.item() / max(self.count, 1)
        self.total.zero_()
        self.count = 0
        return mean


def train(
    name: str,
    optimizer: FlatMuon,
    steps: Sequence[Step],
    *,
    budget: Budget,
    learning_rate: float,
    checkpoint: Path | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Take the steps in turn, by their shares, until the budget is spent.

    The learning rate rises for 300 steps and falls to zero as a cosine of the spent budget. With
    `checkpoint`, a run that was cut off goes on where it was last saved. `on_progress` hears the
    spent fraction of the budget.
    """
    for step in steps:
        step.capture(optimizer)
    optimizer.reset()
    before, count = _resume(optimizer, checkpoint)
    order = _interleave(steps)
    start = reported = saved = time.monotonic()
    while True:
        elapsed = before + time.monotonic() - start
        spent = budget.spent(elapsed, count)
        if spent >= 1:
            break
        warm_up = min(1.0, (count + 1) / WARM_UP_STEPS)
        optimizer.learning_rate.fill_(
            learning_rate * warm_up * (0.5 + 0.5 * math.cos(math.pi * spent))
        )
        order[count % len(order)].run()
        count += 1
        if count % STEPS_BETWEEN_LOOKS:
            continue
        _synchronize(optimizer.weights.device)
        if on_progress is not None:
            on_progress(spent)
        now = time.monotonic()
        if now - reported > SECONDS_BETWEEN_REPORTS:
            _report(name, count, 1000 * (before + now - start) / count, steps)
            reported = now
        if checkpoint is not None and now - saved > SECONDS_BETWEEN_CHECKPOINTS:
            state = {"elapsed": before + now - start, "steps": count}
            torch.save(state | optimizer.state_dict(), checkpoint)
            saved = now
    _synchronize(optimizer.weights.device)
    _report(name, count, 1000 * (before + time.monotonic() - start) / max(count, 1), steps)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)


def capture_graph(function: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """The function as one CUDA graph: at this size, launching kernels takes longer than running."""
    if device.type != "cuda":
        return function
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(GRAPH_WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def compile_blocks(transformer: FluxTransformer2DModel) -> None:
    """Fuse the blocks' small kernels, which takes a third off a captured step."""
    if transformer.device.type == "cuda":
        for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
            block.compile(dynamic=False)


@contextmanager
def compiling(enabled: bool) -> Iterator[None]:
    """Let compiled blocks run as they were written where compiling them would not pay off."""
    with torch.compiler.set_stance("default" if enabled else "force_eager"):
        yield


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Log how long the block took."""
    start = time.monotonic()
    yield
    logger.info("%s took %.1f s", what, time.monotonic() - start)


def set_up_cuda() -> None:
    """Choose the kernels that training needs."""
    # At head size 32 in bfloat16 the backward pass of cuDNN's attention fails on Hopper.
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.recompile_limit = 64


def _interleave(steps: Sequence[Step]) -> list[Step]:
    """Each step `share` times, spread evenly."""
    places = [
        ((i + 0.5) / step.share, n) for n, step in enumerate(steps) for i in range(step.share)
    ]
    return [steps[n] for _, n in sorted(places)]


def _resume(optimizer: FlatMuon, checkpoint: Path | None) -> tuple[float, int]:
    if checkpoint is None or not checkpoint.exists():
        return 0.0, 0
    state = torch.load(checkpoint, map_location=optimizer.weights.device)
    optimizer.load_state_dict(state)
    return state["elapsed"], state["steps"]


def _report(name: str, count: int, milliseconds: float, steps: Sequence[Step]) -> None:
    losses = "  ".join(f"{step.name} {step.mean_loss():.4f}" for step in steps)
    logger.info("%s step %d (%.2f ms): %s", name, count, milliseconds, losses)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
