"""A self-hosted Discord bot for the FLUX.1 image tools, quantised to 8 bits."""

__version__ = "0.1.0"
