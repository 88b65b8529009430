"""`/kontext`: an image changed as the words say, with FLUX.1 Kontext."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot
from bot.cogs import _options
from bot.cogs._attachments import attached
from bot.cogs._submit import random_seed, submit
from bot.cogs._visit import defaults
from bot.inference.requests import UNREAD, kontext


class Kontext(commands.Cog):
    """The command `/kontext`."""

    @app_commands.command()
    @app_commands.describe(
        image="The image to change",
        prompt="What to change, as in: make the car red",
        size="Width and height; left out, the shape of the image",
        **_options.DESCRIPTIONS,
    )
    @app_commands.choices(quantization=_options.QUANTIZATION_CHOICES)
    async def kontext(
        self,
        interaction: discord.Interaction[FluxBot],
        image: discord.Attachment,
        prompt: _options.Prompt,
        size: str | None = None,
        steps: _options.Steps | None = None,
        guidance: app_commands.Range[float, 1.0, 10.0] | None = None,
        seed: _options.Seed | None = None,
        count: _options.Count = 1,
        quantization: str | None = None,
        private: bool | None = None,
        spoiler: bool = False,
    ) -> None:
        """Change an image by saying what shall be different."""
        here = await defaults(interaction)
        attachments = attached(image=image)
        request = kontext(
            here.family,
            image=UNREAD,
            prompt=prompt,
            seed=random_seed() if seed is None else seed,
            size=size,
            steps=steps,
            guidance=guidance,
            count=count,
            quantization=quantization or here.quantization,
        )
        await submit(interaction, request, attachments, private=private, spoiler=spoiler)


async def setup(bot: FluxBot) -> None:
    """Add the command where the family of weights has the tool, with the sizes that it has."""
    if not bot.family.tools("kontext"):
        return
    cog = Kontext()
    app_commands.choices(size=_options.size_choices(bot.family))(cog.kontext)
    await bot.add_cog(cog)
