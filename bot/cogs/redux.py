"""`/redux`: variations of one image, or a blend of up to four, with FLUX.1 Redux."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot
from bot.cogs import _options
from bot.cogs._attachments import attached
from bot.cogs._submit import random_seed, submit
from bot.cogs._visit import defaults
from bot.inference.requests import UNREAD, redux


class Redux(commands.Cog):
    """The command `/redux`."""

    @app_commands.command()
    @app_commands.describe(
        image="The image to vary; the picture takes over its shape",
        image2="A second image to blend in",
        image3="A third image to blend in",
        image4="A fourth image to blend in",
        strength="How much the images count, from 0.1 to 1.0; 1.0 if not given",
        prompt="Words that steer the variation; they count more at a lower strength",
        **_options.DESCRIPTIONS,
    )
    @app_commands.choices(quantization=_options.QUANTIZATION_CHOICES)
    async def redux(
        self,
        interaction: discord.Interaction[FluxBot],
        image: discord.Attachment,
        image2: discord.Attachment | None = None,
        image3: discord.Attachment | None = None,
        image4: discord.Attachment | None = None,
        strength: app_commands.Range[float, 0.1, 1.0] | None = None,
        prompt: _options.Prompt | None = None,
        steps: _options.Steps | None = None,
        guidance: app_commands.Range[float, 1.0, 10.0] | None = None,
        seed: _options.Seed | None = None,
        count: _options.Count = 1,
        quantization: str | None = None,
        private: bool | None = None,
        spoiler: bool = False,
    ) -> None:
        """Make a variation of an image, or a blend of up to four."""
        here = await defaults(interaction)
        attachments = attached(image=image, image2=image2, image3=image3, image4=image4)
        request = redux(
            here.family,
            images=dict.fromkeys(attachments, UNREAD),
            prompt=prompt,
            strength=strength,
            seed=random_seed() if seed is None else seed,
            steps=steps,
            guidance=guidance,
            count=count,
            quantization=quantization or here.quantization,
        )
        await submit(interaction, request, attachments, private=private, spoiler=spoiler)


async def setup(bot: FluxBot) -> None:
    """Add the command where the family of weights has the tool."""
    if bot.family.tools("redux"):
        await bot.add_cog(Redux())
