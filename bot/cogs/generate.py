"""`/generate`: a picture from words, with FLUX.1 schnell, dev or Krea."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot
from bot.cogs import _options
from bot.cogs._submit import random_seed, submit
from bot.cogs._visit import defaults
from bot.inference.requests import text_to_image


class Generate(commands.Cog):
    """The command `/generate`."""

    @app_commands.command()
    @app_commands.describe(
        prompt="What the picture shall show",
        model="schnell is fast; dev and Krea take their time and follow the prompt more closely",
        size="Width and height",
        **_options.DESCRIPTIONS,
    )
    @app_commands.choices(quantization=_options.QUANTIZATION_CHOICES)
    async def generate(
        self,
        interaction: discord.Interaction[FluxBot],
        prompt: _options.Prompt,
        model: str | None = None,
        size: str | None = None,
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
        await submit(interaction, request, private=private, spoiler=spoiler)


async def setup(bot: FluxBot) -> None:
    """Add the command, with the models and sizes that the family of weights has."""
    cog = Generate()
    tools = bot.family.tools("generate")
    app_commands.choices(
        model=[app_commands.Choice(name=t.title, value=t.name) for t in tools.values()],
        size=_options.size_choices(bot.family),
    )(cog.generate)
    await bot.add_cog(cog)
