"""Frazil: an S3 object store with a cold tier, for people who run their own disks."""

__version__ = "0.1.0"
