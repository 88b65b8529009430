"""`/fill`: a part of an image repainted, or the image grown, with FLUX.1 Fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot
from bot.cogs import _options
from bot.cogs._attachments import attached, read
from bot.cogs._mask_preview import show_preview, with_found_mask
from bot.cogs._submit import random_seed, submit
from bot.cogs._visit import defaults
from bot.inference.regions import AREAS
from bot.inference.requests import UNREAD, fill
from bot.inference.types import Region

Percent = app_commands.Range[int, 0, 100]

BOX = ("25", "25", "50", "50")
"""What four numbers look like, in percent, to those who have typed fewer."""


class Fill(commands.Cog):
    """The command `/fill`."""

    @app_commands.command()
    @app_commands.describe(
        image="The image to repaint a part of; where it is transparent counts as the mask",
        prompt="What shall be there",
        mask="White is repainted; or a copy of the image with strokes over what shall go",
        area="What to find, in English words; or a part by its name; or x y w h in percent",
        left="Grow the image to the left, in percent of its width",
        right="Grow the image to the right, in percent of its width",
        top="Grow the image at the top, in percent of its height",
        bottom="Grow the image at the bottom, in percent of its height",
        preview="Look at the mask before anything is painted; on if not given",
        **_options.DESCRIPTIONS,
    )
    @app_commands.choices(quantization=_options.QUANTIZATION_CHOICES)
    async def fill(
        self,
        interaction: discord.Interaction[FluxBot],
        image: discord.Attachment,
        prompt: _options.Prompt,
        mask: discord.Attachment | None = None,
        area: str | None = None,
        left: Percent = 0,
        right: Percent = 0,
        top: Percent = 0,
        bottom: Percent = 0,
        preview: Literal["on", "off"] = "on",
        steps: _options.Steps | None = None,
        guidance: app_commands.Range[float, 1.0, 50.0] | None = None,
        seed: _options.Seed | None = None,
        count: _options.Count = 1,
        quantization: str | None = None,
        private: bool | None = None,
        spoiler: bool = False,
    ) -> None:
        """Repaint a part of an image, or grow it beyond its edges."""
        here = await defaults(interaction)
        attachments = attached(image=image, mask=mask)
        request = fill(
            here.family,
            image=UNREAD,
            mask=UNREAD if mask else None,
            prompt=prompt,
            region=Region(area=area, left=left, right=right, top=top, bottom=bottom),
            seed=random_seed() if seed is None else seed,
            steps=steps,
            guidance=guidance,
            count=count,
            quantization=quantization or here.quantization,
        )
        if preview == "on":
            await show_preview(interaction, request, attachments, private=private, spoiler=spoiler)
            return

        async def images() -> Mapping[str, bytes]:
            assert request.region is not None
            files = await read(attachments)
            return await with_found_mask(interaction.client, request.region, files)

        await submit(interaction, request, private=private, spoiler=spoiler, images=images)

    @fill.autocomplete("area")
    async def suggest_areas(
        self, interaction: discord.Interaction[FluxBot], current: str
    ) -> list[app_commands.Choice[str]]:
        """Offer the areas whose names fit what is typed, and four numbers for who types them."""
        typed = current.lower().split()
        offered = [name for name in AREAS if " ".join(typed) in name]
        if all(word[0].isdigit() for word in typed):
            offered.append(" ".join((*typed, *BOX[len(typed) :])))
        return [app_commands.Choice(name=each[:100], value=each[:100]) for each in offered]


async def setup(bot: FluxBot) -> None:
    """Add the command where the family of weights has the tool."""
    if bot.family.tools("fill"):
        await bot.add_cog(Fill())
