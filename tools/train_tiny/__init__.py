"""Trains the tiny FLUX family: models of the FLUX.1 architecture that draw simple scenes."""
