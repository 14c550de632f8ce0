"""The command line as a whole: every command explains itself, and failures end as the contract says."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from mkpose_ros.cli import COMMANDS, cli


def _main(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mkpose_ros.cli", *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert len(result.output) > 100


def test_the_overview_lists_every_command_without_importing_any():
    code = (
        "import sys; from click.testing import CliRunner; from mkpose_ros.cli import cli;"
        "out = CliRunner().invoke(cli, []).output; print('bench' in out, 'torch' in sys.modules, 'cv2' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


def _main_without(package: str, *words: str) -> subprocess.CompletedProcess:
    """The command line on a machine that lacks a package."""
    code = f"import sys; sys.modules[{package!r}] = None; from mkpose_ros.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_where_the_extras_are_not_installed(command):
    result = _main_without("matplotlib", command, "--help")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("package", "command"), [("omegaconf", "train"), ("matplotlib", "eval")])
def test_an_extra_that_is_missing_is_named_in_one_sentence(package, command):
    result = _main_without(package, command)
    assert result.returncode == 1
    assert result.stderr.startswith(f"mkpose: this command needs the Python package {package}")
    assert "mkpose_ros[train]" in result.stderr
    assert result.stderr.count("\n") == 1


def test_wrong_usage_is_status_two_and_names_the_option():
    result = _main("image", "--nonsense")
    assert result.returncode == 2
    assert "--nonsense" in result.stderr


def test_a_failure_is_status_one_and_one_sentence_on_standard_error(tmp_path):
    result = _main(
        "image", "--rgb", "nowhere.png", "--depth", "nowhere.png", "--k", "1,1,1,1", "--out", str(tmp_path / "out")
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("mkpose: nowhere.png")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", ["mkpose_ros.pipeline", "mkpose_ros.inference.engine", "mkpose_ros.cli"])
def test_the_run_time_path_imports_neither_torch_nor_rclpy(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'rclpy', 'onnx', 'transformers') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.strip() == "[]", result.stderr
