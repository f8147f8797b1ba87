"""Buckets as a file system: the FUSE mount."""
