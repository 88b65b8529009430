"""`/memory`: what is on each device, what waits beside it, and what 8 bits saved."""

from __future__ import annotations

from collections.abc import Sequence

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot
from bot.cogs._submit import acknowledge
from bot.colours import ACCENT
from bot.errors import InferenceError
from bot.i18n import N_, _, percent
from bot.inference.types import DeviceMemory, Holding
from bot.messages import joined
from bot.units import format_bytes

MOST_EMBEDS = 10
"""Of one message."""
MOST_CHARACTERS = 6000
"""Of all embeds of one message together."""

PARTS = {
    "transformer": N_("transformer"),
    "text_encoder": "CLIP",
    "text_encoder_2": "T5",
    "image_encoder": "SigLIP",
    "image_embedder": N_("embedder"),
    "vae": N_("autoencoder"),
    "depth_estimator": N_("depth estimator"),
}


class Memory(commands.Cog):
    """The command `/memory`."""

    @app_commands.command()
    async def memory(self, interaction: discord.Interaction[FluxBot]) -> None:
        """See what is on each GPU, and what 8 bits saved there."""
        await acknowledge(interaction, private=True)
        devices = await interaction.client.executor.memory()
        if not devices:
            raise InferenceError(_("No device has answered in time. Please try again in a moment."))
        first, *others = in_messages([report(device) for device in devices])
        await interaction.edit_original_response(embeds=first)
        for embeds in others:
            await interaction.followup.send(embeds=embeds, ephemeral=True)


def in_messages(embeds: Sequence[discord.Embed]) -> list[list[discord.Embed]]:
    """Return embeds in as few messages as Discord takes them in, in their order."""
    messages: list[list[discord.Embed]] = [[]]
    for embed in embeds:
        fits = sum(map(len, (*messages[-1], embed))) <= MOST_CHARACTERS
        if not fits or len(messages[-1]) == MOST_EMBEDS:
            messages.append([])
        messages[-1].append(embed)
    return messages


def report(memory: DeviceMemory) -> discord.Embed:
    """Return what a device holds as people read it."""
    here = [each for each in memory.holdings if each.on_device]
    beside = [each for each in memory.holdings if not each.on_device]
    used = sum(each.weights.actual for each in here)
    embed = discord.Embed(
        title=memory.device,
        colour=ACCENT,
        description=_(
            "{used} of weights, {allowed} allowed. {free} of {total} are free.",
            used=format_bytes(used),
            allowed=format_bytes(memory.budget),
            free=format_bytes(memory.free),
            total=format_bytes(memory.total),
        ),
    )
    embed.add_field(name=_("Ready"), value=_lines(here) or _("nothing yet"), inline=False)
    if beside:
        embed.add_field(name=_("Waiting in host memory"), value=_lines(beside), inline=False)
    quantized = [each for each in memory.holdings if each.quantization == "8-bit"]
    if quantized:
        embed.add_field(name=_("8 bits"), value=_savings(quantized), inline=False)
    return embed


def _lines(holdings: Sequence[Holding]) -> str:
    """Return one line for each holding, what was used last first, as far as a field goes."""
    lines = []
    for each in reversed(holdings):
        name = each.repo_id.rpartition("/")[2]
        part = _("{part} of {model}", part=_(PARTS[each.part]), model=name)
        line = f"{part} · {format_bytes(each.weights.actual)}"
        lines.append(f"{line} · 8-bit" if each.quantization == "8-bit" else line)
    return joined(lines)


def _savings(quantized: Sequence[Holding]) -> str:
    actual = sum(each.weights.actual for each in quantized)
    bfloat16 = sum(each.weights.bfloat16 for each in quantized)
    float32 = sum(each.weights.float32 for each in quantized)
    return _(
        "{actual} instead of {bfloat16} in bf16 (−{share16}) or {float32} in fp32 (−{share32})",
        actual=format_bytes(actual),
        bfloat16=format_bytes(bfloat16),
        share16=percent(1 - actual / bfloat16),
        float32=format_bytes(float32),
        share32=percent(1 - actual / float32),
    )


async def setup(bot: FluxBot) -> None:
    """Add the cog; called by `load_extension`."""
    await bot.add_cog(Memory())
