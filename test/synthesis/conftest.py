"""One renderer for all tests of this room; without EGL they are skipped, or fail where MKPOSE_REQUIRE_EGL=1."""

from __future__ import annotations

import os

import pytest

from mkpose_ros.errors import MkposeError


@pytest.fixture(scope="session")
def renderer():
    from mkpose_ros.synthesis.render import Renderer

    try:
        made = Renderer()
    except MkposeError as error:
        if os.environ.get("MKPOSE_REQUIRE_EGL") == "1":
            raise
        pytest.skip(f"no off-screen rendering here: {error}")
    yield made
    made.close()


@pytest.fixture(scope="session")
def generator(renderer):
    from mkpose_ros.synthesis.generate import SceneGenerator
    from mkpose_ros.synthesis.library import ShapeLibrary

    made = SceneGenerator(ShapeLibrary("val", 0), None, seed=5)
    made._renderer = renderer  # the session's: opening OpenGL takes a second
    return made
