"""Cameras, rotations, boxes and symmetries: plain numpy functions."""
