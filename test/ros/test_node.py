"""The node over DDS: what it publishes for a good frame."""

from __future__ import annotations

import pytest


def test_a_frame_gives_its_objects_with_the_header_of_the_colour_image(rig):
    message = rig.detect(3)
    assert [o.category for o in message.objects] == ["mug", "bottle", "bowl"]
    assert message.header.frame_id == "camera_color_optical_frame"
    for o in message.objects:
        assert o.header == message.header
        assert o.pose.pose.position.z == pytest.approx(0.8)
