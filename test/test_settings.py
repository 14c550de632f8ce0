"""Settings files of long jobs: what is wrong in one is named, with its file and key."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

pytest.importorskip("omegaconf")

from mkpose_ros.errors import InputError
from mkpose_ros.settings import checked_settings, load_settings, settings_file


@dataclass
class Part:
    rate: float = 0.5
    names: list[str] = field(default_factory=list)


@dataclass
class Job:
    steps: int
    part: Part = field(default_factory=Part)


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("steps: 3\npart: {names: [a]}\n", encoding="utf-8")
    return path


def test_overrides_win_over_the_file_and_the_file_over_defaults(job):
    assert load_settings(Job, job, [], "") == Job(3, Part(0.5, ["a"]))
    assert load_settings(Job, job, ["part.rate=8e-4", "steps=7", "part.names=[b, c]"], "") == Job(
        7, Part(8e-4, ["b", "c"])
    )


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("steps=many", "steps: Value 'many'"),
        ("part.rate=fast", "part.rate: Value 'fast'"),
        ("part.speed=1", "part.speed: Key 'speed' not in 'Part'"),
        ("colour=1", "colour"),
        ("steps", "steps: "),
    ],
)
def test_a_wrong_override_is_named_with_its_file_and_what_to_do(job, override, named):
    with pytest.raises(InputError, match=r"job\.yaml") as error:
        load_settings(Job, job, [override], "Look at Job")
    assert named in str(error.value)
    assert str(error.value).endswith("Look at Job")


@pytest.mark.parametrize(
    ("text", "named"), [("steps: [1\n b: {", "no YAML"), ("- 1\n", "incompatible"), ("part: {}\n", "steps: ")]
)
def test_a_file_that_is_no_such_settings_is_refused(job, text, named):
    job.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=named):
        load_settings(Job, job, [], "")


def test_a_missing_file_is_named_and_a_shipped_one_needs_no_path(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"nothing\.yaml: no such file"):
        settings_file(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match="trian_small: no such file, and none shipped"):
        settings_file("trian_small")
    monkeypatch.chdir(tmp_path)
    assert settings_file("train_small") == settings_file("train_small.yaml")
    assert settings_file("train_small").is_file()


def test_a_file_of_ones_own_comes_before_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train_small.yaml").write_text("steps: 1\n", encoding="utf-8")
    assert load_settings(Job, "train_small.yaml", [], "").steps == 1


def test_plain_values_are_checked_as_a_file_is():
    assert checked_settings(Job, {"steps": 2}, "checkpoint x", "") == Job(2)
    with pytest.raises(InputError, match="checkpoint x: extra"):
        checked_settings(Job, {"steps": 2, "extra": 1}, "checkpoint x", "")
