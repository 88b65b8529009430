"""The two distillations that make FLUX.1 dev and schnell what they are."""

from collections.abc import Callable

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch.nn import functional

from .flow import EMPTY_PROMPT_SHARE, MAX_GUIDANCE, Prompt, mix, predict_velocity, sample_times
from .models import PATCH_CHANNELS
from .scenes import CANVAS
from .studio import Layout, Studio
from .tokenization import TRAINING_LENGTH
from .training import capture_graph, compile_blocks, compiling

SCALE_PER_GUIDANCE = 0.6
"""dev's guidance g stands for a classifier-free scale of 1 + 0.6 (g - 1): 3.5 is 2.5."""
SCHNELL_GUIDANCE = 3.5
SCHNELL_STEPS = 4
TEACHER_SUBSTEPS = 5
ROUNDS = 3
ROLLING_BATCH = 512

Move = Callable[[Tensor, int, Prompt, Layout], Tensor]
"""From a state, the number of the step, the prompt and the layout to the next state."""


class GuidanceDistillation:
    """Teach the guidance embedding what classifier-free guidance does (Meng et al. 2022).

    In layouts with silence the student hears the prompt as it will hear Redux's images: behind
    zeros in the words' place and without the pooled embedding, which it else cannot do without.
    """

    def __init__(self, studio: Studio, transformer: FluxTransformer2DModel) -> None:
        self.studio, self.transformer = studio, transformer
        self.teacher = studio.load_transformer("dev").requires_grad_(False)
        compile_blocks(self.teacher)

    def loss(self, layout: Layout) -> Tensor:
        """The mean squared error against the guided velocity of the teacher."""
        studio, count = self.studio, self.studio.batch_size(layout)
        latents = studio.latents(layout.canvas)
        captions = studio.draw_captions(count, len(latents), EMPTY_PROMPT_SHARE)
        pictures = latents[captions.scenes].float()
        noise, times = torch.randn_like(pictures), sample_times(count, studio.device)
        tokens = mix(pictures, noise, times)
        guidance = MAX_GUIDANCE * torch.rand(count, device=studio.device)
        with torch.no_grad():
            prompt = studio.prompts(captions.clip_ids, captions.t5_ids, layout.text_length)
            empty = studio.prompts(
                studio.empty_prompt.clip_ids, studio.empty_prompt.t5_ids, layout.text_length
            )
            both = [torch.cat((p, e.expand_as(p))) for p, e in zip(prompt, empty, strict=True)]
            guided, free = predict_velocity(
                studio,
                self.teacher,
                tokens.repeat(2, 1, 1),
                times.repeat(2),
                (both[0], both[1]),
                layout,
                guidance.repeat(2),
            ).chunk(2)
            scale = 1 + SCALE_PER_GUIDANCE * (guidance - 1)
            target = free + scale[:, None, None] * (guided - free)
        if layout.silence:
            prompt = _speak_after_silence(prompt, layout.silence)
        predicted = predict_velocity(
            studio, self.transformer, tokens, times, prompt, layout, guidance
        )
        return (predicted - target).square().mean()

    def advance(self, spent: float) -> None:
        """Nothing changes while training."""


class TrajectoryBank:
    """Steps to imitate: states, the states to reach from them, and the captions, of one canvas."""

    def __init__(self, studio: Studio, layout: Layout, count: int) -> None:
        self.layout = layout
        tokens = layout.height * layout.width // 256
        self.states = torch.zeros(
            SCHNELL_STEPS, count, tokens, PATCH_CHANNELS, device=studio.device, dtype=studio.dtype
        )
        self.targets = torch.zeros_like(self.states)
        self.captions = studio.draw_captions(count, len(studio.scenes), 0.0)

    def __len__(self) -> int:
        return self.states.shape[1]


class TrajectoryDistillation:
    """Reach in one step what dev reaches in five, for each of schnell's four steps.

    First along dev's own trajectories; then from the states that schnell itself arrives at, so
    that it learns to correct its own errors (Ross et al. 2011).
    """

    def __init__(self, studio: Studio, transformer: FluxTransformer2DModel) -> None:
        self.studio, self.transformer = studio, transformer
        self.teacher = studio.load_transformer("guidance").requires_grad_(False)
        compile_blocks(self.teacher)
        self.banks: dict[tuple[int, int], TrajectoryBank] = {}
        self.round = 0

    def loss(self, layout: Layout) -> Tensor:
        """The mean squared error of the mean velocity over one step."""
        studio, count = self.studio, self.studio.batch_size(layout)
        bank = self._bank(layout)
        index = torch.randint(len(bank), (count,), device=studio.device)
        step = torch.randint(SCHNELL_STEPS, (count,), device=studio.device)
        states, targets = bank.states[step, index].float(), bank.targets[step, index].float()
        predicted = predict_velocity(
            studio,
            self.transformer,
            states,
            1 - step / SCHNELL_STEPS,
            self._prompt(bank, index, layout.text_length),
            layout,
            guidance=None,
        )
        return (predicted - SCHNELL_STEPS * (states - targets)).square().mean()

    def advance(self, spent: float) -> None:
        """When a round is over, draw new trajectories from the student's own states."""
        if int(spent * ROUNDS) > self.round:
            self.round += 1
            for bank in self.banks.values():
                self._fill(bank, pilot=self._step_student)

    def _bank(self, layout: Layout) -> TrajectoryBank:
        """The canvas's bank, filled on the first call, while the step's graph warms up."""
        if layout.canvas not in self.banks:
            scale = self.studio.scale
            is_square = layout.canvas == (CANVAS, CANVAS)
            count = scale.trajectories if is_square else scale.trajectories_of_other_sizes
            self.banks[layout.canvas] = TrajectoryBank(self.studio, layout, count)
            self._fill(self.banks[layout.canvas])
        return self.banks[layout.canvas]

    @torch.no_grad()
    def _fill(self, bank: TrajectoryBank, pilot: Move | None = None) -> None:
        """Fill the bank with the teacher's steps, from its own states or from the pilot's."""
        chosen = torch.arange(min(len(bank), ROLLING_BATCH), device=self.studio.device)

        def roll() -> None:
            prompt = self._prompt(bank, chosen, TRAINING_LENGTH)
            state = torch.randn(bank.states[0, chosen].shape, device=self.studio.device)
            for step in range(SCHNELL_STEPS):
                target = self._step_teacher(state, step, prompt, bank.layout)
                bank.states[step, chosen] = state.to(bank.states.dtype)
                bank.targets[step, chosen] = target.to(bank.states.dtype)
                state = pilot(state, step, prompt, bank.layout) if pilot else target

        with compiling(bank.layout.compiles):
            replay = capture_graph(roll, self.studio.device)
        for start in range(0, len(bank), len(chosen)):
            chosen.copy_((start + torch.arange(len(chosen))) % len(bank))
            replay()

    def _step_teacher(self, state: Tensor, step: int, prompt: Prompt, layout: Layout) -> Tensor:
        size = 1 / (SCHNELL_STEPS * TEACHER_SUBSTEPS)
        guidance = torch.full((len(state),), SCHNELL_GUIDANCE, device=state.device)
        for substep in range(TEACHER_SUBSTEPS):
            time = 1 - step / SCHNELL_STEPS - substep * size
            times = torch.full_like(guidance, time)
            state = state - size * predict_velocity(
                self.studio, self.teacher, state, times, prompt, layout, guidance
            )
        return state

    def _step_student(self, state: Tensor, step: int, prompt: Prompt, layout: Layout) -> Tensor:
        times = torch.full((len(state),), 1 - step / SCHNELL_STEPS, device=state.device)
        velocity = predict_velocity(
            self.studio, self.transformer, state, times, prompt, layout, guidance=None
        )
        return state - velocity / SCHNELL_STEPS

    @torch.no_grad()
    def _prompt(self, bank: TrajectoryBank, index: Tensor, length: int) -> Prompt:
        captions = bank.captions
        return self.studio.prompts(captions.clip_ids[index], captions.t5_ids[index], length)


def _speak_after_silence(prompt: Prompt, silence: int) -> Prompt:
    embeddings, pooled = prompt
    return functional.pad(embeddings, (0, 0, silence, 0)), torch.zeros_like(pooled)
