"""`/generate`: a picture from words, with FLUX.1 schnell, dev or Krea."""

from __future__ import annotations

import contextlib

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot
from bot.cogs import _options
from bot.cogs._submit import random_seed, submit
from bot.cogs._visit import defaults, visit
from bot.errors import RequestError
from bot.i18n import counted
from bot.inference.requests import text_to_image
from bot.inference.sweeps import examples, labels, parse, swept
from bot.inference.types import Sweep

MAX_CHOICE = 100
"""Characters of a choice that Discord takes."""


class Generate(commands.Cog):
    """The command `/generate`."""

    @app_commands.command()
    @app_commands.describe(
        prompt="What the picture shall show",
        model="schnell is fast; dev and Krea take their time and follow the prompt more closely",
        size="Width and height",
        sweep="The same picture several times with one thing varied, as in: steps 1 2 4 8",
        **_options.DESCRIPTIONS,
    )
    @app_commands.choices(quantization=_options.QUANTIZATION_CHOICES)
    async def generate(
        self,
        interaction: discord.Interaction[FluxBot],
        prompt: _options.Prompt,
        model: str | None = None,
        size: str | None = None,
        sweep: _options.Sweep | None = None,
        steps: _options.Steps | None = None,
        guidance: app_commands.Range[float, 0.0, 10.0] | None = None,
        seed: _options.Seed | None = None,
        count: _options.Count = 1,
        quantization: str | None = None,
        private: bool | None = None,
        spoiler: bool = False,
    ) -> None:
        """Make a picture from words."""
        here = await defaults(interaction)
        request = text_to_image(
            here.family,
            model=model or here.model,
            prompt=prompt,
            seed=random_seed() if seed is None else seed,
            size=size or here.size,
            steps=steps,
            guidance=guidance,
            count=count,
            quantization=quantization or here.quantization,
        )
        if sweep is not None:
            options = {
                "model": model,
                "steps": steps,
                "guidance": guidance,
                "seed": seed,
                "count": count if count > 1 else None,
                "quantization": quantization,
            }
            given = [name for name, value in options.items() if value is not None]
            asked = parse(sweep, here.family, model=request.tool, seed=request.seed, given=given)
            request = swept(request, asked)
        await submit(interaction, request, private=private, spoiler=spoiler)

    @generate.autocomplete("sweep")
    async def suggest_sweeps(
        self, interaction: discord.Interaction[FluxBot], current: str
    ) -> list[app_commands.Choice[str]]:
        """Offer sweeps that the chosen model takes, and say how one is understood that is typed."""
        settings = await interaction.client.policy.settings(visit(interaction))
        family = settings.family(interaction.client.family)
        models = {n: t for n, t in family.tools("generate").items() if n in settings.tools}
        model = interaction.namespace.model or settings.model
        if model not in models:
            return []
        typed = current.strip().casefold()
        choices = [
            app_commands.Choice(name=each, value=each)
            for each in examples(models[model], list(models))
            if each.casefold().startswith(typed) and each.casefold() != typed
        ]
        with contextlib.suppress(RequestError):  # as long as it is not typed to its end
            name = _understood(current, parse(current, family, model=model))
            if len(current) <= MAX_CHOICE:
                choices.insert(0, app_commands.Choice(name=name[:MAX_CHOICE], value=current))
        return choices


def _understood(typed: str, sweep: Sweep) -> str:
    pictures = counted("{n} picture", "{n} pictures", len(sweep.values))
    if sweep.option == "seed":  # which may still be drawn
        return f"{typed.strip()} · {pictures}"
    return f"{sweep.option} {', '.join(labels(sweep))} · {pictures}"


async def setup(bot: FluxBot) -> None:
    """Add the command, with the models and sizes that the family of weights has."""
    cog = Generate()
    tools = bot.family.tools("generate")
    app_commands.choices(
        model=[app_commands.Choice(name=t.title, value=t.name) for t in tools.values()],
        size=_options.size_choices(bot.family),
    )(cog.generate)
    await bot.add_cog(cog)
