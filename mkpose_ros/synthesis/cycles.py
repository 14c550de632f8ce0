"""Photoreal colour: the same scenes drawn by Blender Cycles, in a process of Blender's own Python.

Only colour is traced. Depth, ids and NOCS come from the OpenGL renderer, whose geometry Cycles' agrees with; so a frame
drawn either way has the same ground truth. bpy wants its own Python (3.11) and numpy (1.x), hence the other process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mkpose_ros.errors import DependencyError, EngineError
from mkpose_ros.resources import cache_path
from mkpose_ros.synthesis import cycles_worker
from mkpose_ros.synthesis.cycles_export import CyclesSettings, export_scene
from mkpose_ros.synthesis.render import Renderer, Rendering
from mkpose_ros.synthesis.scene import Scene

import cv2  # after the rooms that let OpenCV read .exr  # isort: skip

__all__ = ["CyclesImage", "CyclesProcess", "CyclesRenderer", "CyclesSettings", "blender_python", "prepare_blender"]

PYTHON_VARIABLE = "MKPOSE_BLENDER_PYTHON"
_PACKAGES = ("bpy==4.5.*", "numpy<2")
_PYTHON = "3.11"  # the only one that bpy 4.5 has wheels for


@dataclass(frozen=True)
class CyclesImage:
    """What Cycles drew; arrays (H, W, ...), row 0 at the top."""

    radiance: np.ndarray  # (H, W, 3) float32 linear
    seconds: float
    depth_m: np.ndarray | None = None  # (H, W) float32 along z, 0 where nothing is hit
    ids: np.ndarray | None = None  # (H, W) uint8


class CyclesRenderer:
    """A renderer like ``render.Renderer`` whose colours come from Cycles.

    Raises DependencyError without bpy or moderngl, EngineError when Blender or EGL fails.
    """

    def __init__(self, settings: CyclesSettings | None = None) -> None:
        self._settings = settings or CyclesSettings()
        self._process = CyclesProcess()
        self._opengl = Renderer()

    @property
    def device(self) -> str:
        """What draws, such as "Cycles (Blender 4.5.15 LTS)"."""
        return f"Cycles (Blender {self._process.version})"

    def render(self, scene: Scene) -> Rendering:
        """Draw the scene as its camera sees it."""
        radiance = self._process.draw(scene, self._settings).radiance
        return replace(self._opengl.render(scene), radiance=np.minimum(radiance, 6e4).astype(np.float16))

    def close(self) -> None:
        """End Blender and free the OpenGL context."""
        self._process.close()
        self._opengl.close()


class CyclesProcess:
    """One Blender that draws scene after scene; should it die, a new one tries the same scene once more."""

    def __init__(self, python: Path | None = None) -> None:
        """``python``: one that imports bpy; default ``blender_python()``. Raises DependencyError."""
        self._python = python or blender_python()
        self._child: subprocess.Popen | None = None
        self._start()

    def draw(self, scene: Scene, settings: CyclesSettings | None = None) -> CyclesImage:
        """Trace a scene. Raises EngineError when Blender dies of it twice, or says why it can't."""
        settings = settings or CyclesSettings()
        for _ in range(2):
            if self._child is None:
                self._start()
            export_scene(scene, self._folder, settings)
            answer = self._ask("draw")
            if answer is not None:
                break
        else:
            raise EngineError(f"Cycles: Blender died twice of one scene; its last words: {self._last_words()}")
        if "failed" in answer:
            raise EngineError(f"Cycles: Blender can't draw the scene: {answer['failed']}")
        radiance = np.maximum(np.nan_to_num(_read_exr(self._folder / "radiance.exr")), 0.0)
        if not settings.passes:
            return CyclesImage(radiance, answer["seconds"])
        depth_m = _read_exr(self._folder / "depth0001.exr")[..., 0]
        depth_m = np.where(depth_m < 1e6, depth_m, np.float32(0.0))  # Blender's sky is at 1e10
        ids = np.round(_read_exr(self._folder / "ids0001.exr")[..., 0]).astype(np.uint8)
        return CyclesImage(radiance, answer["seconds"], depth_m, ids)

    def close(self) -> None:
        """End Blender."""
        if self._child is None:
            return
        self._child.stdin.close()  # it ends with it, and takes its folder along
        try:
            self._child.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self._bury()

    def _start(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self._child = subprocess.Popen(
            # Isolated (-I): neither this folder's cycles.py nor a ROS PYTHONPATH may stand in for Blender's modules
            [self._python, "-I", cycles_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )
        self._folder: Path | None = None
        answer = self._ask("hello")
        if answer is None:
            raise DependencyError(
                f"Cycles: {self._python} can't run Blender ({self._last_words()}); expected a Python with bpy 4.5: "
                f"run `mkpose synth --prepare-cycles`, or set {PYTHON_VARIABLE}"
            )
        self.version, self._folder = answer["version"], Path(answer["folder"])

    def _ask(self, request: str) -> dict | None:
        """The process' answer, or None if it has died."""
        try:
            self._child.stdin.write(request + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        self._bury()
        return None

    def _bury(self) -> None:
        """Wait for the process' end and remove what it left."""
        self._child.wait()
        self._child.stdout.close()
        self._child = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "none")


def blender_python() -> Path:
    """The Python that runs Blender: MKPOSE_BLENDER_PYTHON, or the prepared one. Raises DependencyError."""
    chosen = os.environ.get(PYTHON_VARIABLE)
    python = Path(chosen) if chosen else _prepared_python()
    if python.is_file():
        return python
    what = f"{PYTHON_VARIABLE}={chosen} is no file" if chosen else f"Blender is not in {python.parents[1]}"
    raise DependencyError(
        f"Cycles: {what}; run `mkpose synth --prepare-cycles` once (it installs bpy there, 950 MB), or set "
        f"{PYTHON_VARIABLE} to a Python that imports bpy 4.5"
    )


def prepare_blender() -> Path:
    """Install bpy into an environment of its own in the user's cache; its Python. Raises DependencyError."""
    here = sys.version.startswith(_PYTHON + ".")
    base = sys.executable if here else shutil.which(f"python{_PYTHON}")
    if base is None:
        raise DependencyError(
            f"Cycles: bpy 4.5 runs on Python {_PYTHON} only, which is not here; install python{_PYTHON}, or set "
            f"{PYTHON_VARIABLE} to a Python that imports bpy"
        )
    python = _prepared_python()
    steps = (
        [base, "-m", "venv", "--clear", str(python.parents[1])],
        [str(python), "-m", "pip", "install", *_PACKAGES],
    )
    for step in steps:
        done = subprocess.run(step, stdout=sys.stderr, check=False)  # standard output may be somebody's JSON
        if done.returncode:
            raise DependencyError(f"Cycles: `{' '.join(step)}` failed with {done.returncode}; see its words above")
    return python


def _prepared_python() -> Path:
    return cache_path("blender-4.5", "bin", "python")


def _read_exr(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise EngineError(f"Cycles: {path} is missing or damaged after rendering; is the disk full?")
    image = image[..., None] if image.ndim == 2 else image[..., 2::-1]
    return np.ascontiguousarray(image, dtype=np.float32)
