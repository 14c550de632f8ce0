"""The tests' own domain: no process of the machine may take part in it but theirs."""

from __future__ import annotations

import os

import rclpy
from rig import free_domain


def test_a_domain_in_use_is_passed_over():
    key = f"domain{os.getpid()}"
    taken = free_domain(key)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=taken)
    node = rclpy.create_node("guest", context=context)
    try:
        assert free_domain(key) != taken
    finally:
        node.destroy_node()
        context.shutdown()
