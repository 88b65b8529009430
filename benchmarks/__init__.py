"""Measurements behind the figures in the README; each prints a table for this machine."""
