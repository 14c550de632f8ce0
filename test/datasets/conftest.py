"""Small data sets in the layouts of the field, drawn by casting rays at boxes whose poses are known."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # drawn.py

SHARED = Path(os.environ.get("MKPOSE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def nocs_data() -> Path:
    """Three frames of the NOCS benchmark, which may not be shipped."""
    folder = SHARED / "nocs"
    if not folder.is_dir():
        pytest.skip(f"no NOCS frames in {folder}; set MKPOSE_SHARED_DATA")
    return folder
