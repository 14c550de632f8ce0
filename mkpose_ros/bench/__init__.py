"""Timings of the node's parts: rows of plain values, for `mkpose bench`."""
