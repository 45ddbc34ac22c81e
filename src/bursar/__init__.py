"""Bursar: the marketplace and the accounting office of shared research computing."""

__version__ = "0.1.0"
