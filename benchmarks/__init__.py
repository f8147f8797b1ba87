"""Measures a store from outside, over S3, beside what the machine itself can do."""
