"""What the metadata services answer, and in which words; the same in this process and over HTTP.

A module for each door, and one for each noun that several doors speak of. Values are msgspec structs (msgpack on the wire). `layout` is the
encoded content layout: opaque here, store/layout.py reads it.
"""
