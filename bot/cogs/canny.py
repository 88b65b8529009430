"""`/canny`: a new picture along the edges of an image, with FLUX.1 Canny."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot
from bot.cogs import _options
from bot.cogs._attachments import attached
from bot.cogs._submit import random_seed, submit
from bot.cogs._visit import defaults
from bot.inference.requests import UNREAD, canny

Threshold = app_commands.Range[int, 1, 255]


class Canny(commands.Cog):
    """The command `/canny`."""

    @app_commands.command()
    @app_commands.describe(
        image="The image whose edges the picture follows",
        prompt="What the picture shall show",
        low="Fainter edges are left out; 100 if not given",
        high="Edges above it count in any case; 200 if not given",
        **_options.DESCRIPTIONS,
    )
    @app_commands.choices(quantization=_options.QUANTIZATION_CHOICES)
    async def canny(
        self,
        interaction: discord.Interaction[FluxBot],
        image: discord.Attachment,
        prompt: _options.Prompt,
        low: Threshold | None = None,
        high: Threshold | None = None,
        steps: _options.Steps | None = None,
        guidance: app_commands.Range[float, 1.0, 50.0] | None = None,
        seed: _options.Seed | None = None,
        count: _options.Count = 1,
        quantization: str | None = None,
        private: bool | None = None,
        spoiler: bool = False,
    ) -> None:
        """Make a picture along the edges of an image."""
        here = await defaults(interaction)
        attachments = attached(image=image)
        request = canny(
            here.family,
            image=UNREAD,
            prompt=prompt,
            low=low,
            high=high,
            seed=random_seed() if seed is None else seed,
            steps=steps,
            guidance=guidance,
            count=count,
            quantization=quantization or here.quantization,
        )
        await submit(interaction, request, attachments, private=private, spoiler=spoiler)


async def setup(bot: FluxBot) -> None:
    """Add the command where the family of weights has the tool."""
    if bot.family.tools("canny"):
        await bot.add_cog(Canny())
