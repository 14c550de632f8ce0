"""Each module of ROS tests has a domain of its own, so that no other process on the network disturbs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rig as rig_module


@pytest.fixture(scope="module", autouse=True)
def domain(request: pytest.FixtureRequest) -> Iterator[None]:
    """A ROS_DOMAIN_ID that nobody uses, and discovery on this machine only."""
    saved = dict(os.environ)
    os.environ["ROS_DOMAIN_ID"] = str(rig_module.free_domain(f"{request.module.__name__}{os.getpid()}"))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    yield
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture(scope="module")
def node(domain: None) -> Iterator[rig_module.NodeProcess]:
    """One stub node process for the whole module, configured and active."""
    process = rig_module.NodeProcess()
    yield process
    assert process.stop() == 0, process.log
    assert "Traceback" not in process.log.replace("a callback failed: Traceback", ""), process.log


@pytest.fixture(scope="module")
def shared_rig(node: rig_module.NodeProcess) -> Iterator[rig_module.Rig]:
    rig = rig_module.Rig()
    rig.start()
    yield rig
    rig.close()


@pytest.fixture
def rig(shared_rig: rig_module.Rig) -> rig_module.Rig:
    """The module's rig, emptied."""
    shared_rig.spin(0.02)
    for messages in (shared_rig.detections, shared_rig.markers, shared_rig.diagnostics):
        messages.clear()
    return shared_rig
