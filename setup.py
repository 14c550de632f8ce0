"""`pip install .`: builds the ROS messages with the CMakeLists.txt that colcon uses, and packs a wheel of everything.

MKPOSE_ROS_DISTRO (kilted or jazzy) chooses whose wheels to build against. Where a ROS distribution is sourced, use
colcon instead.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
DISTRO = os.environ.get("MKPOSE_ROS_DISTRO", "kilted")
# Distribution -> version of each wheel; messages built against one version run with that version only.
RUNTIME = {
    "kilted": {"rclpy": "9.1.2", "rmw-fastrtps-cpp": "9.3.3", "common-interfaces": "5.5.1"},
    "jazzy": {"rclpy": "7.1.6", "rmw-fastrtps-cpp": "8.4.3", "common-interfaces": "5.3.6"},
}
BUILD = (
    "ament-cmake",
    "ament-cmake-python",
    "ament-cmake-include-directories",
    "ament-package",
    "rosidl-default-generators",
    "rosidl-core-generators",
    "common-interfaces",
)
BUILD_OF = {
    "kilted": ("ament-cmake-ros-core",),
    "jazzy": (
        "ament-cmake-gmock",
        "ament-cmake-gtest",
        "ament-cmake-pytest",
        "ament-cmake-ros",
        "domain-coordinator",
        "fastrtps-cmake-module",
        "gmock-vendor",
        "gtest-vendor",
        "python-cmake-module",
    ),
}
if DISTRO not in RUNTIME:
    sys.exit(f"setup.py: MKPOSE_ROS_DISTRO is {DISTRO!r}; expected one of {', '.join(RUNTIME)}")


class Wheel(Distribution):
    """A wheel with compiled message libraries: specific to a platform and a Python."""

    def has_ext_modules(self) -> bool:
        return True


class BuildWithMessages(build_py):
    """Installs the CMake project into a staging prefix and takes the wheel's content from there."""

    def run(self) -> None:
        build = Path(self.get_finalized_command("build").build_temp).resolve()
        # Never reused: pip builds in a new environment each time, and CMake's cache would name the old one.
        shutil.rmtree(build, ignore_errors=True)
        shutil.rmtree(Path(self.build_lib) / "mkpose_ros", ignore_errors=True)
        stage = build / "stage"
        environment = dict(os.environ, AMENT_PREFIX_PATH=str(_ament_prefix()))
        configure = [
            "cmake",
            "-S",
            str(ROOT),
            "-B",
            str(build / "cmake"),
            "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_TESTING=OFF",
        ]
        if shutil.which("ninja"):
            configure += ["-G", "Ninja"]
        configure += [f"-DCMAKE_INSTALL_PREFIX={stage}", f"-DPython3_EXECUTABLE={sys.executable}"]
        subprocess.run(configure, check=True, env=environment)
        subprocess.run(["cmake", "--build", str(build / "cmake"), "--parallel"], check=True, env=environment)
        subprocess.run(["cmake", "--install", str(build / "cmake")], check=True, env=environment)
        (package,) = [p for p in stage.rglob("mkpose_ros") if p.parent.name in ("site-packages", "dist-packages")]
        shutil.copytree(package, Path(self.build_lib) / "mkpose_ros", dirs_exist_ok=True)
        self.distribution.data_files = _data_files(stage, package.parent)


def _ament_prefix() -> Path:
    import ament_package  # a build requirement, absent while pip only asks for the requirements

    return Path(ament_package.__file__).resolve().parents[4]  # <prefix>/lib/pythonX.Y/site-packages/ament_package


def _data_files(stage: Path, python_folder: Path) -> list[tuple[str, list[str]]]:
    """Everything outside the Python folder, as (folder below the prefix, files): libraries, share, programs."""
    folders: dict[str, list[str]] = {}
    for path in sorted(stage.rglob("*")):
        if path.is_file() and python_folder not in path.parents and "include" not in path.relative_to(stage).parts:
            folders.setdefault(str(path.parent.relative_to(stage)), []).append(os.path.relpath(path, ROOT))
    return sorted(folders.items())


setup(
    distclass=Wheel,
    cmdclass={"build_py": BuildWithMessages},
    packages=["mkpose_ros"],
    setup_requires=[
        "cmake>=3.22",
        "ninja",
        "catkin_pkg",
        "lark",
        "numpy",
        "pyyaml",
        *(f"ros-{DISTRO}-{name}" for name in (*BUILD, *BUILD_OF[DISTRO])),
    ],
    install_requires=[
        "click>=8.1",
        "filelock>=3.12",
        "numpy>=1.24",
        "onnxruntime>=1.20",
        "opencv-python-headless>=4.8,<5",  # cv_bridge breaks on 5
        "openvino>=2025.0",
        "psutil>=5.9",
        "pyyaml>=6.0",
        "rich>=13.0",
        "rosbags>=0.10",
        "safetensors>=0.4",
        "scipy>=1.10",
        "threadpoolctl>=3.1",
        *(f"ros-{DISTRO}-{name}=={version}" for name, version in RUNTIME[DISTRO].items()),
    ],
)
