"""Frazil, an S3 object store with a cold tier: the command and the version."""

__version__ = "0.1.0"
