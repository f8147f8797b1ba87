"""Lifecycle: what a bucket's rules ask for is decided, done and remembered here; and restores of single objects."""
