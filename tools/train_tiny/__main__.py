"""Train the tiny FLUX family, one stage after the other, each saved before the next."""

import argparse
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import diffusers
import transformers

from .assemble import save_family
from .depth import SECONDS as DEPTH_SECONDS
from .depth import train_depth_estimator
from .evaluate import EXAMINERS, evaluate
from .optimizer import FlatMuon
from .recipes import RECIPES, Recipe, refined
from .redux import SECONDS as REDUX_SECONDS
from .redux import train_redux
from .segmenter import SECONDS as SEGMENTER_SECONDS
from .segmenter import train_segmenter
from .studio import FULL, TOY, Studio
from .tokenization import build_tokenizers
from .training import Budget, Step, compile_blocks, set_up_cuda, timed, train
from .vae import SECONDS as VAE_SECONDS
from .vae import train_vae

OTHER_STAGES = {
    "vae": (train_vae, VAE_SECONDS),
    "depth_estimator": (train_depth_estimator, DEPTH_SECONDS),
    "redux": (train_redux, REDUX_SECONDS),
    "segmenter": (train_segmenter, SEGMENTER_SECONDS),
}
"""What is no transformer's recipe, and for how long it trains."""
TRAINING_STAGES = ("tokenizers", *OTHER_STAGES, *RECIPES)
FAMILY = Path(__file__).parents[2] / "bot" / "inference" / "tiny"


def main() -> None:
    """Parse the command line and run the stages."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)7d ms  %(message)s")
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scale = TOY if arguments.toy else FULL
    studio = Studio(arguments.out, replace(scale, lessons=arguments.lessons or scale.lessons))
    for stage in arguments.stages:
        with timed(f"stage {stage}"):
            if stage == "save":
                save_family(arguments.out, arguments.family)
            elif stage == "evaluate":
                evaluate(arguments.family, arguments.prompts, arguments.models)
            else:
                run_stage(stage, studio, arguments.seconds, arguments.refine)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.train_tiny", description=__doc__)
    stages = (*TRAINING_STAGES, "save", "evaluate")
    parser.add_argument(
        "stages", nargs="+", choices=stages, metavar="stage", help=", ".join(stages)
    )
    parser.add_argument("--out", type=Path, default=Path("build/tiny"), help="the trained parts")
    parser.add_argument("--family", type=Path, default=FAMILY, help="the finished models")
    parser.add_argument("--seconds", type=float, help="training time, if not the stage's own")
    parser.add_argument("--prompts", type=int, default=200, help="pictures to evaluate")
    parser.add_argument(
        "--models", nargs="+", choices=EXAMINERS, default=list(EXAMINERS), help="what to evaluate"
    )
    parser.add_argument(
        "--refine", action="store_true", help="go on from the stage's own earlier result"
    )
    parser.add_argument("--lessons", type=int, help="a tool's lessons, fewer without a GPU")
    parser.add_argument("--toy", action="store_true", help="a few steps of each, to try the code")
    return parser.parse_args()


def run_stage(stage: str, studio: Studio, seconds: float | None, refine: bool) -> None:
    """Run one stage of training with its own budget or the given one."""
    set_up_cuda()
    if stage == "tokenizers":
        build_tokenizers(studio.folder)
    elif stage in OTHER_STAGES:
        train_other, own_seconds = OTHER_STAGES[stage]
        budget = Budget(seconds=seconds or own_seconds, steps=studio.scale.steps)
        if stage == "redux":
            train_other = partial(train_redux, refine=refine)
        train_other(studio, budget)
    else:
        recipe = RECIPES[stage]
        if refine:
            recipe = refined(recipe)
        budget = Budget(seconds=seconds or recipe.seconds, steps=studio.scale.steps)
        train_transformer(recipe, studio, budget)


def train_transformer(recipe: Recipe, studio: Studio, budget: Budget) -> None:
    """Follow a recipe and save what comes out."""
    transformer = recipe.start(studio)
    compile_blocks(transformer)
    objective = recipe.objective(studio, transformer)
    steps = [
        Step(layout.name, partial(objective.loss, layout), layout.share, layout.compiles)
        for layout in recipe.layouts
    ]
    trained = [transformer, studio.prompts] if recipe.trains_text else [transformer]
    train(
        recipe.name,
        FlatMuon(trained),
        steps,
        budget=budget,
        learning_rate=recipe.learning_rate,
        checkpoint=studio.folder / f"{recipe.name}.checkpoint.pt",
        on_progress=objective.advance,
    )
    if recipe.trains_text:
        studio.prompts.requires_grad_(False).save(studio.folder)
    studio.save(transformer, recipe.name)


if __name__ == "__main__":
    main()
