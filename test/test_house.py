"""The rules of the house: who may import what, how long files get, and one version everywhere."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mkpose_ros
from mkpose_ros.errors import MkposeError
from mkpose_ros.resources import share_path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mkpose_ros"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """The modules that a file imports, at its top level or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_only_the_ros_room_imports_rclpy():
    # `bench` times the node from outside, as a process; it needs a listener.
    guests = [
        p for p in SOURCES if _room(p) not in ("ros", "bench") and any(m.split(".")[0] == "rclpy" for m in _imports(p))
    ]
    assert guests == []


def test_the_core_never_imports_the_ros_room():
    allowed = ("ros", "commands", "bench")
    guests = [
        p for p in SOURCES if _room(p) not in allowed and any(m.startswith("mkpose_ros.ros") for m in _imports(p))
    ]
    assert guests == []


@pytest.mark.parametrize("room", ["types", "geometry", "segmentation", "inference", "tracking"])
def test_low_rooms_know_nothing_of_training(room):
    high = ("datasets", "synthesis", "training", "evaluation")
    shelves = [p for p in SOURCES if _room(p) == room and "maskrcnn" not in p.parts]
    guests = {p.name: m for p in shelves for m in _imports(p) if m.startswith(tuple(f"mkpose_ros.{h}" for h in high))}
    assert guests == {}


def test_the_run_time_path_loads_without_torch():
    modules = [
        "mkpose_ros.pipeline",
        "mkpose_ros.inference.engine",
        "mkpose_ros.inference.estimator",
        "mkpose_ros.segmentation",
        "mkpose_ros.tracking",
        "mkpose_ros.drawing",
        "mkpose_ros.ros.node",
    ]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_files_stay_within_a_room():
    long = {
        str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert long == {}


def test_one_version_everywhere():
    manifest = re.search(r"<version>(.*?)</version>", (ROOT / "package.xml").read_text()).group(1)
    project = re.search(r'^version = "(.*?)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE).group(1)
    assert manifest == project == mkpose_ros.__version__


def test_a_missing_shipped_file_is_named_with_the_places_searched():
    with pytest.raises(MkposeError, match=r"no_such_file.*share"):
        share_path("config", "no_such_file.yaml")
