"""Lifecycle, parameters, services and names of the real node."""

from __future__ import annotations

import time

import psutil
import pytest
from mkpose_ros.srv import DetectOnce, SetClasses
from rcl_interfaces.srv import DescribeParameters
from rig import stamp_of
from std_srvs.srv import SetBool, Trigger


def reload(rig):
    return rig.call(Trigger, "reload", Trigger.Request())


def detect_once(rig, send=None, timeout_s=0.0):
    """The service's answer; frames are sent while it waits."""
    client = rig.node.create_client(DetectOnce, "/mkpose/detect_once")
    rig.until(client.service_is_ready, 10)
    future = client.call_async(DetectOnce.Request(timeout_s=timeout_s))

    def answered():
        if send is not None:
            send()
        return future.done()

    rig.until(answered, 10, "detect_once")
    rig.node.destroy_client(client)
    return future.result()


def test_every_transition_can_be_taken_and_taken_back(rig, node):
    assert rig.state() == "active"
    assert rig.change_state("deactivate")
    assert rig.state() == "inactive"
    assert rig.node.count_subscribers("/color/image_raw") == 0
    assert rig.change_state("cleanup")
    assert rig.state() == "unconfigured"
    assert rig.node.count_publishers("/mkpose/detections") == 0
    assert rig.refuses("activate", node)
    rig.start()
    assert rig.detect().objects


def test_fifty_configurations_leave_nothing_behind(rig, node):
    assert rig.change_state("deactivate")
    assert rig.change_state("cleanup")
    process = psutil.Process(node.process.pid)

    def cycle(n):
        for _ in range(n):
            assert rig.change_state("configure")
            assert rig.change_state("activate")
            assert rig.change_state("deactivate")
            assert rig.change_state("cleanup")
        return process.num_threads(), process.num_fds(), process.memory_info().rss

    threads, files, memory = cycle(5)
    threads_after, files_after, memory_after = cycle(45)
    assert threads_after <= threads
    assert files_after <= files
    assert memory_after < memory + 10e6
    rig.start()
    assert rig.detect().objects


def test_a_failed_configuration_says_why_and_can_be_tried_again(rig, node):
    assert rig.change_state("deactivate")
    assert rig.change_state("cleanup")
    assert rig.set(model="missing")[0]
    assert not rig.change_state("configure")
    assert rig.state() == "unconfigured"
    assert "configure failed: model missing: stub has no such file" in node.log
    assert rig.set(model="small", classes="sofa")[0]
    assert not rig.change_state("configure")
    assert "sofa unknown; the model knows mug, bottle, bowl" in node.log
    assert rig.set(classes="")[0]
    rig.start()
    assert rig.detect().objects


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"slop": -0.1}, "out of range"),
        ({"slop": float("nan")}, "range"),
        ({"slop": 1}, "Wrong parameter type"),
        ({"max_objects": 0}, "out of range"),
        ({"object_frame": "x_up"}, "got 'x_up', expected one of z_up, nocs. The old value is kept."),
        ({"classes": "Mug"}, "lower-case names"),
        ({"classes": "sofa"}, "sofa unknown; the model knows mug, bottle, bowl"),
        ({"min_depth": 3.0, "max_depth": 2.0}, "min_depth (3.0 m) must be less than max_depth (2.0 m)"),
        ({"max_age": 0.01}, "must be greater than slop"),
        ({"depth_to_color": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]}, "must have length 1"),
        ({"autostart": True}, "read-only"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_reason(rig, change, reason):
    accepted, said = rig.set(**change)
    assert not accepted
    assert reason in said
    assert rig.detect().objects


def test_a_parameter_changed_while_a_frame_is_in_work_holds_from_the_next_frame(rig):
    stamp = rig.send(3, delay_s=0.6)
    rig.spin(0.2)
    assert rig.set(object_frame="nocs")[0]
    rig.until(lambda: rig.result_of(stamp), 5)
    assert rig.result_of(stamp).objects[0].object_frame == 0
    assert rig.detect().objects[0].object_frame == 1
    assert rig.set(object_frame="z_up")[0]


def test_parameters_describe_themselves(rig):
    request = DescribeParameters.Request(names=["slop", "object_frame", "autostart"])
    slop, frame, autostart = rig.call(DescribeParameters, "describe_parameters", request).descriptors
    assert "Unit: s." in slop.description
    assert (slop.floating_point_range[0].from_value, slop.floating_point_range[0].to_value) == (0.0, 1.0)
    assert "One of: z_up, nocs." in frame.additional_constraints
    assert autostart.read_only


def test_detect_once_answers_with_the_next_frame_also_while_disabled(rig):
    assert rig.call(SetBool, "set_enabled", SetBool.Request(data=False)).success
    asked = rig.now_ns()
    answer = detect_once(rig, send=lambda: rig.send(2))
    assert answer.success
    assert len(answer.detections.objects) == 2
    assert stamp_of(answer.detections) > asked
    rig.spin(0.3)
    rig.detections.clear()
    rig.send()
    rig.spin(0.3)
    assert rig.detections == []
    assert rig.call(SetBool, "set_enabled", SetBool.Request(data=True)).success
    assert rig.detect().objects


def test_detect_once_gives_up_with_a_sentence(rig):
    answer = detect_once(rig, timeout_s=0.3)
    assert not answer.success
    assert "no frame was processed within 0.3 s" in answer.message
    assert rig.change_state("deactivate")
    assert "the node is inactive" in detect_once(rig).message
    assert rig.change_state("activate")
    rig.connect()


def test_classes_can_be_restricted_by_service_and_unknown_ones_change_nothing(rig):
    def set_classes(*names):
        return rig.call(SetClasses, "set_classes", SetClasses.Request(classes=names))

    assert set_classes("bowl").classes == ["bowl"]
    assert {o.category for o in rig.detect(6).objects} == {"bowl"}
    refused = set_classes("sofa")
    assert not refused.success
    assert refused.classes == ["bowl"]
    assert "the model knows mug, bottle, bowl" in refused.message
    assert set_classes().classes == []
    assert {o.category for o in rig.detect(6).objects} == {"mug", "bottle", "bowl"}


def test_reload_keeps_the_old_model_when_the_new_one_is_missing(rig):
    assert reload(rig).success
    assert rig.detect().objects
    assert rig.set(model="missing")[0]
    answer = reload(rig)
    assert not answer.success
    assert "model missing" in answer.message
    assert rig.detect().objects
    assert rig.set(model="small")[0]


def test_parameters_change_and_frames_flow_at_once(rig):
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        rig.send(3, delay_s=0.02)
        for value in (0.3, 0.98):
            assert rig.set(min_score=value)[0]
    assert rig.set(min_score=0.5)[0]
    rig.until(lambda: rig.detections, 10, "a frame")
    assert all(len(m.objects) in (2, 3) for m in rig.detections)


@pytest.mark.slow
def test_many_frames_leave_memory_threads_and_files_flat(rig, node):
    process = psutil.Process(node.process.pid)

    def play(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rig.send(6)
            rig.spin(0.01)
            rig.detections.clear()
            rig.diagnostics.clear()
        return process.num_threads(), process.num_fds(), process.memory_info().rss

    threads, files, memory = play(30)
    threads_after, files_after, memory_after = play(150)
    print(f"{memory / 1e6:.1f} MB, then {memory_after / 1e6:.1f} MB")
    assert threads_after <= threads
    assert files_after <= files
    assert memory_after < memory + 5e6
