"""The process around the node: signals, fatal errors, wrong starts."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from rcl_interfaces.srv import GetParameters
from rclpy.qos import qos_profile_sensor_data
from rig import HEIGHT, HERE, PATIENCE, WIDTH, NodeProcess, Rig, color_msg, header, to_time
from sensor_msgs.msg import Image

from mkpose_ros.commands.run import run
from mkpose_ros.errors import InputError
from mkpose_ros.ros.images import image_to_msg


@pytest.fixture
def started():
    """(process, rig) of an active node."""
    process = NodeProcess("-p", "autostart:=true")
    rig = Rig()
    rig.connect()
    yield process, rig
    rig.close()
    if process.process.poll() is None:
        process.process.kill()
        process.process.wait()


def assert_clean_end(process, status=0):
    assert process.process.wait(20 * PATIENCE) == status, process.log
    assert "Traceback" not in process.log


def test_an_interrupt_during_inference_ends_the_process_cleanly(started):
    process, rig = started
    rig.detect()
    rig.send(delay_s=2.5)
    rig.spin(0.3)
    process.interrupt()
    assert_clean_end(process)


def test_a_second_interrupt_changes_nothing(started):
    process, rig = started
    rig.send(delay_s=2.5)
    rig.spin(0.3)
    process.interrupt()
    time.sleep(0.2)
    process.interrupt()
    assert_clean_end(process)


def test_interrupts_of_terminal_and_launch_together_end_the_demo_camera_cleanly():
    camera = NodeProcess(script=(str(HERE.parents[1] / "scripts" / "mkpose_demo_camera"),))
    end = time.monotonic() + 20 * PATIENCE
    while "playing" not in camera.log and time.monotonic() < end:
        time.sleep(0.05)
    while camera.process.poll() is None and time.monotonic() < end:
        camera.interrupt()
        time.sleep(0.002)
    assert_clean_end(camera)


def test_an_interrupt_while_models_load_ends_the_process_cleanly():
    process = NodeProcess("-p", "autostart:=true", "-p", "model:=slow")
    end = time.monotonic() + 20 * PATIENCE
    while "loading slowly" not in process.log and time.monotonic() < end:
        time.sleep(0.05)
    process.interrupt()
    assert_clean_end(process)


def test_a_failed_activation_says_why_leaves_nothing_and_can_be_tried_again():
    process = NodeProcess("-p", "qos_overrides./color/image_raw.subscription.reliability:=nonsense")
    rig = Rig()
    try:
        assert rig.change_state("configure")
        for _ in range(2):
            assert not rig.change_state("activate")
            assert rig.state() == "inactive"
        assert "activate failed" in process.log
        rig.until(lambda: rig.node.count_subscribers("/color/camera_info") == 0, 10, "the end of its subscriptions")
        assert rig.change_state("cleanup")
    finally:
        rig.close()
        assert process.stop() == 0


def test_a_camera_whose_qos_does_not_fit_is_reported_with_topic_and_policy():
    process = NodeProcess(
        "-p", "autostart:=true", "-p", "qos_overrides./depth/image_raw.subscription.reliability:=reliable"
    )
    rig = Rig()  # its camera publishes best effort
    try:
        text = "/depth/image_raw: a publisher's QoS is incompatible with this subscription (RELIABILITY)"
        rig.until(lambda: text in process.log, 15, "the incompatible QoS")
    finally:
        rig.close()
        assert process.stop() == 0


def test_mkpose_run_starts_the_node_with_a_cameras_topics_and_ends_cleanly():
    command = [sys.executable, "-m", "mkpose_ros.cli", "run", "--camera", "realsense", "--no-autostart"]
    process = subprocess.Popen([*command, "--namespace", "arm", "-p", "slop:=0.02"])
    rig = Rig("/arm/mkpose")
    try:
        assert rig.state() == "unconfigured"
        request = GetParameters.Request(names=["slop", "max_depth"])
        values = rig.call(GetParameters, "get_parameters", request).values
        assert [v.double_value for v in values] == [0.02, 4.0]
        process.send_signal(signal.SIGINT)
        assert process.wait(10 * PATIENCE) == 0
    finally:
        rig.close()
        process.kill()


def test_mkpose_run_explains_a_wrong_option():
    result = CliRunner().invoke(run, ["-p", "slop"])
    assert isinstance(result.exception, InputError)
    assert "-p slop: expected two names with := between them" in str(result.exception)


def test_a_sticky_device_error_ends_the_process_with_an_error(started):
    process, rig = started
    rig.until(lambda: (rig.send(1, "engine"), process.process.poll() is not None)[1], 20, "the end of the process")
    assert process.process.returncode == 1
    assert "10 frames in a row failed" in process.log
    assert "started anew" in process.log


@pytest.mark.parametrize(
    ("fault", "text"), [("death", "the inference thread died"), ("lost", "stub: the device is gone. The node ends")]
)
def test_what_no_later_frame_can_mend_ends_the_process_with_an_error(started, fault, text):
    process, rig = started
    rig.until(lambda: (rig.send(1, fault), process.process.poll() is not None)[1], 20, "the end of the process")
    assert process.process.returncode == 1
    assert text in process.log


def test_an_exception_in_the_synchronisers_callback_costs_one_frame(started):
    process, rig = started
    assert rig.detect().objects
    broken = color_msg()
    broken.header.frame_id = "broken"
    rig.until(lambda: (rig.send(color=broken), rig.counter("callback_errors"))[1], 15, "the error's count")
    assert "broken on request" in process.log
    assert rig.detect(2).objects
    assert process.stop() == 0


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("slop:=7.5", "parameter slop given at the start"),
        ("slop:=1", "parameter slop given at the start"),
        ("object_frame:=up", "Parameter object_frame: got 'up', expected one of z_up, nocs"),
    ],
)
def test_a_wrong_parameter_at_the_start_ends_it_with_one_sentence(argument, text):
    process = NodeProcess("-p", argument)
    assert_clean_end(process, status=1)
    assert text in process.log


def test_autostart_that_fails_ends_the_process_with_the_reason():
    process = NodeProcess("-p", "autostart:=true", "-p", "model:=missing")
    assert_clean_end(process, status=1)
    assert "stub has no such file" in process.log


def real_node(model, *parameters):
    words = [word for parameter in (f"model:={model}", *parameters) for word in ("-p", parameter)]
    return NodeProcess("-p", "autostart:=true", *words, script=("-m", "mkpose_ros.ros.node"))


def test_a_missing_model_ends_the_real_node_with_its_path(tmp_path):
    process = real_node(tmp_path / "model.onnx")
    assert_clean_end(process, status=1)
    assert f"configure failed: model {tmp_path / 'model.onnx'}" in process.log


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (("backend:=onnxruntime-cuda",), "onnxruntime-cuda: this ONNX Runtime has only"),
        (("backend:=tensorrt-rtx", "device_index:=7"), "GPU 7 does not exist; found"),
        (("segmenter_device:=cuda",), "segmenter runtime onnxruntime: no CUDA provider, at hand are"),
    ],
)
def test_a_gpu_that_is_asked_for_and_not_there_ends_the_real_node_with_what_there_is(parameters, reason):
    if "CUDAExecutionProvider" in pytest.importorskip("onnxruntime").get_available_providers():
        pytest.skip("this ONNX Runtime can use a GPU")
    if "tensorrt" in parameters[0]:
        pytest.importorskip("tensorrt_rtx")
        pytest.importorskip("cuda.bindings.runtime")
    process = real_node("small", *parameters)
    assert_clean_end(process, status=1)
    assert "configure failed" in process.log
    assert reason in process.log


def test_a_model_that_lacks_a_key_ends_the_real_node_with_path_and_key(tmp_path):
    entry = bytes([10, 6]) + b"mkpose" + bytes([18, 21]) + b'{"format_version": 1}'
    (tmp_path / "model.onnx").write_bytes(bytes([14 << 3 | 2, len(entry)]) + entry)  # ModelProto.metadata_props alone
    process = real_node(tmp_path / "model.onnx")
    assert_clean_end(process, status=1)
    assert f"model {tmp_path / 'model.onnx'}: its metadata lacks or garbles 'size'" in process.log


def test_simulated_time_before_the_first_clock_publishes_nothing_and_says_why():
    process = NodeProcess("-p", "autostart:=true", "-p", "use_sim_time:=true")
    rig = Rig()
    try:
        rig.connect()
        rig.until(lambda: (rig.send(), "nothing came on /clock yet" in process.log)[1], 10)
        assert rig.detections == []
        publish_clock(rig)
    finally:
        rig.close()
        assert process.stop() == 0


def publish_clock(rig):
    """With a clock frames of its time are processed; after an hour's leap nothing stale comes."""
    from rig import to_time
    from rosgraph_msgs.msg import Clock

    clock = rig.node.create_publisher(Clock, "/clock", 10)
    rig.until(clock.get_subscription_count, 5)

    def at(seconds):
        clock.publish(Clock(clock=to_time(seconds * 10**9)))
        rig.spin(0.1)
        return rig.send(stamp_ns=seconds * 10**9)

    rig.until(lambda: rig.result_of(at(1000)), 10)
    stale = rig.send(delay_s=0.6, stamp_ns=1000 * 10**9 + 1)
    rig.spin(0.2)
    rig.until(lambda: rig.result_of(at(4600)), 10)
    assert rig.result_of(stale) is None
    rig.until(lambda: rig.result_of(at(1100)), 10)  # and back again, as when a recording loops


def test_two_nodes_in_namespaces_keep_their_names_apart():
    left = NodeProcess("-r", "__ns:=/left", "-p", "autostart:=true", "-r", "color/image_raw:=/cam/rgb")
    right = NodeProcess("-r", "__ns:=/right", "-r", "__node:=finder", "-p", "autostart:=true")
    rigs = Rig("/left/mkpose", "left"), Rig("/right/finder", "right")
    try:
        rigs[1].connect()
        assert rigs[1].detect(2).objects
        rigs[1].until(lambda: rigs[1].node.count_publishers("/left/mkpose/detections"), 20)
        rigs[1].until(lambda: rigs[1].node.count_subscribers("/cam/rgb"), 10)
        names = {name for name, _ in rigs[1].node.get_topic_names_and_types()}
        ours = {n for n in names if not n.startswith(("/left/", "/right/", "/cam/"))}
        assert ours <= {"/parameter_events", "/rosout"}
        assert rigs[0].detections == []
    finally:
        for rig in rigs:
            rig.close()
        assert (left.stop(), right.stop()) == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_the_node_cleanly_while_its_engine_computes_in_bfloat16(number):
    """The matrix unit of newer CPUs makes the frame of a signal larger than many a handler's stack."""
    names = "-p", "segmenter:=outside", "-p", "mask_classes:=mug"
    process = NodeProcess(
        "-p", "autostart:=true", "-p", "precision:=bf16", *names, script=("-m", "mkpose_ros.ros.node")
    )
    rig = Rig()
    masks = rig.node.create_publisher(Image, "masks", qos_profile_sensor_data)
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    labels[40:80, 60:110] = 257  # the first mug

    def send():
        message = image_to_msg(labels, "mono16", header())
        message.header.stamp = to_time(rig.send())
        masks.publish(message)
        rig.spin(0.1)
        return any(detections.objects for detections in rig.detections)

    try:
        rig.until(lambda: process.process.poll() is not None or rig.color.get_subscription_count(), 45, "the models")
        rig.until(send, 15, "a pose")
        send()
        process.process.send_signal(number)
        assert_clean_end(process)
    finally:
        rig.close()
        process.process.kill()
