"""`/depth`: a new picture with the depth of an image, with FLUX.1 Depth."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot
from bot.cogs import _options
from bot.cogs._attachments import attached
from bot.cogs._submit import random_seed, submit
from bot.cogs._visit import defaults
from bot.inference.requests import UNREAD, depth


class Depth(commands.Cog):
    """The command `/depth`."""

    @app_commands.command()
    @app_commands.describe(
        image="The image whose depth the picture takes over: what is near and what is far",
        prompt="What the picture shall show",
        **_options.DESCRIPTIONS,
    )
    @app_commands.choices(quantization=_options.QUANTIZATION_CHOICES)
    async def depth(
        self,
        interaction: discord.Interaction[FluxBot],
        image: discord.Attachment,
        prompt: _options.Prompt,
        steps: _options.Steps | None = None,
        guidance: app_commands.Range[float, 1.0, 50.0] | None = None,
        seed: _options.Seed | None = None,
        count: _options.Count = 1,
        quantization: str | None = None,
        private: bool | None = None,
        spoiler: bool = False,
    ) -> None:
        """Make a picture with the same near and far as an image."""
        here = await defaults(interaction)
        attachments = attached(image=image)
        request = depth(
            here.family,
            image=UNREAD,
            prompt=prompt,
            seed=random_seed() if seed is None else seed,
            steps=steps,
            guidance=guidance,
            count=count,
            quantization=quantization or here.quantization,
        )
        await submit(interaction, request, attachments, private=private, spoiler=spoiler)


async def setup(bot: FluxBot) -> None:
    """Add the command where the family of weights has the tool."""
    if bot.family.tools("depth"):
        await bot.add_cog(Depth())
