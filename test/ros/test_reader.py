"""The camera's thread: messages beside the executor, a clean end, and never a silent death."""

from __future__ import annotations

import threading
import time

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Int32

from mkpose_ros.ros.reader import Reader, ReaderGroup


@pytest.fixture
def node():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("reader_test", context=context)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def _until(condition, timeout_s=10.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def _subscribe(node, topic, callback):
    return node.create_subscription(Int32, topic, callback, 10, callback_group=ReaderGroup())


def test_messages_arrive_without_the_executor_and_say_when_they_came(node):
    got, fatal = [], []
    subscription = _subscribe(node, "numbers", lambda m, i: got.append((m.data, i, threading.current_thread().name)))
    reader = Reader(node, [subscription], fatal.append)
    publisher = node.create_publisher(Int32, "numbers", 10)
    _until(lambda: publisher.get_subscription_count() == 1)
    before = time.time_ns()
    for number in range(5):
        publisher.publish(Int32(data=number))
    _until(lambda: len(got) == 5)
    reader.close()
    assert [number for number, _, _ in got] == list(range(5))
    assert {thread for _, _, thread in got} == {"camera"}
    assert all(before <= info["received_timestamp"] <= time.time_ns() for _, info, _ in got)
    assert not fatal


def test_the_executor_neither_takes_the_messages_nor_wakes_for_them(node):
    got = []
    subscription = _subscribe(node, "numbers", lambda message, info: got.append(message.data))
    publisher = node.create_publisher(Int32, "numbers", 10)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    _until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(Int32(data=1))
    for _ in range(10):
        executor.spin_once(timeout_sec=0.05)
    assert got == []
    reader = Reader(node, [subscription], print)
    _until(lambda: got == [1])
    reader.close()
    executor.shutdown()


def test_nothing_comes_after_close_and_the_subscription_can_go(node):
    got = []
    subscription = _subscribe(node, "numbers", lambda message, info: got.append(message.data))
    reader = Reader(node, [subscription], print)
    publisher = node.create_publisher(Int32, "numbers", 10)
    _until(lambda: publisher.get_subscription_count() == 1)
    reader.close()
    publisher.publish(Int32(data=1))
    time.sleep(0.2)
    assert got == []
    node.destroy_subscription(subscription)
    assert not any(thread.name == "camera" for thread in threading.enumerate())


def test_a_dying_thread_says_why(node):
    fatal = []

    def fail(message, info):
        raise RuntimeError("out of luck")

    reader = Reader(node, [_subscribe(node, "numbers", fail)], fatal.append)
    publisher = node.create_publisher(Int32, "numbers", 10)
    _until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(Int32(data=1))
    _until(lambda: fatal)
    assert "the camera thread died" in fatal[0]
    assert "out of luck" in fatal[0]
    reader.close()
