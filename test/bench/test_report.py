"""The pages that `mkpose bench all` writes, from rows made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mkpose_ros.bench import everything
from mkpose_ros.bench.goals import goals_table
from mkpose_ros.bench.report import REGIONS, write_pages
from mkpose_ros.cli import cli
from mkpose_ros.errors import InputError

DOCS = Path(__file__).parents[2] / "docs"
TIMES = {"median_ms": 50.0, "p95_ms": 80.0, "p99_ms": 90.0, "per_s": 22.0, "rss_mb": 700.0}
COUNTS = {"sent": 450, "lost": 1, "skipped": 120, "cpu_percent": 140.0, "oldest_ms": 130.0, "objects_per_s": 108.0}


def _pipeline(variant: str = "this", rate_hz: float = 30.0, **changes) -> list[dict]:
    same = {"backend": variant, "rate_hz": rate_hz}
    whole = {"name": f"pipeline at {rate_hz:.0f} Hz", **TIMES, **COUNTS, **same, **changes}
    return [whole, {"name": "  engine", **TIMES, **same, "median_ms": 23.0}]


def _tracking(**changes) -> list[dict]:
    figures = {
        "object_frames": 3445, "id_switches": 0, "switches_per_1000": 0.0, "median_rotation_deg": 9.0,
        "median_translation_mm": 20.0, "jitter_deg": 3.0, "mean_jitter_deg": 9.0, "jitter_mm": 4.0, "flips": 9,
        "spin_deg": 0.5, "doubled": 0.0,
    }  # fmt: skip
    raw = {"name": "gt masks, all, raw", **TIMES, **figures}
    tracked = raw | {"name": "gt masks, all, tracked", "median_rotation_deg": 8.0, "jitter_deg": 0.2}
    tracked |= {"returns": 12, "returned_within_3": 12}
    carried = {"name": "carried 5 frames", **TIMES, "age_s": 0.33, "object_frames": 500}
    return [raw, tracked | changes, carried | {"median_iou": 0.94, "p10_iou": 0.8, "lost_share": 0.1}]


def _pages(folder: Path) -> Path:
    for region, (page, _, _) in REGIONS.items():
        path = folder / page
        before = path.read_text() if path.exists() else "# Title\n"
        path.write_text(f"{before}\nBefore {region}.\n<!-- bench {region} -->\nold\n<!-- /bench {region} -->\nAfter.\n")
    return folder


def test_only_the_regions_with_results_are_rewritten(tmp_path):
    docs = _pages(tmp_path)
    results = tmp_path / "results"
    results.mkdir()
    (results / "pipeline.json").write_text(json.dumps(_pipeline()))
    machine = {"command": "mkpose bench pipeline", "day": "2030-01-02", "revision": "abc", "cores": 2, "cpu": "a Xeon"}
    machine |= {"others_percent": 3.0, "during_percent": 4.0}
    (results / "pipeline.machine.json").write_text(json.dumps(machine))
    assert write_pages(results, docs) == ["goals", "pipeline", "stages"]
    text = (docs / "performance.md").read_text()
    assert "| 30 Hz | `auto` | 50, 80, 90 | 1.8 | 130 | 22.0 | 108 | 120 of 450, 1 | 140 % | 700 MB |" in text
    assert "| 30 Hz, `auto` | - | - | - | - | 23.0 (90) |" in text
    assert "`mkpose bench pipeline` on 2030-01-02, revision abc: 2 cores of a Xeon" in text
    assert text.count("old\n") == len([r for r in REGIONS.values() if r[0] == "performance.md"]) - 3
    assert text.count("After.") == text.count("Before ")
    assert write_pages(results, docs)  # a second time changes nothing
    assert (docs / "performance.md").read_text() == text


def test_a_goal_is_met_by_its_figure_and_not_otherwise():
    each = _pipeline("segment_every:=1", per_s=4.9, p99_ms=101.0)
    good = goals_table({"pipeline": _pipeline() + each, "tracking": _tracking()})
    assert "| 15 poses/s of each object, 30 Hz sent, carried masks | 21.6 | met |" in good
    assert "| p99 under twice the median, carried masks | 1.80 times | met |" in good
    assert "| 5 full frames/s, 30 Hz sent, each frame segmented | 4.9 | **not met** |" in good
    assert "| p99 under twice the median, each frame segmented | 2.02 times | **not met** |" in good
    assert "| id switches under 1 in 1000 object-frames, true masks | 0 in 3445 | met |" in good
    assert good.count("not met") == 2
    bad = _tracking(id_switches=4, switches_per_1000=1.2, median_rotation_deg=9.1, jitter_deg=1.1, returned_within_3=11)
    assert goals_table({"tracking": bad}).count("not met") == 4


@pytest.mark.parametrize("region", REGIONS)
def test_each_region_has_its_place_in_the_shipped_pages(region):
    text = (DOCS / REGIONS[region][0]).read_text()
    assert text.count(f"<!-- bench {region} -->") == text.count(f"<!-- /bench {region} -->") == 1


def test_a_missing_page_is_named(tmp_path):
    (tmp_path / "tracking.json").write_text(json.dumps(_tracking()))
    with pytest.raises(InputError, match=r"performance\.md"):
        write_pages(tmp_path, tmp_path)


def test_the_pages_can_be_written_again_without_measuring(tmp_path):
    docs, out = _pages(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "tracking.json").write_text(json.dumps(_tracking()))
    result = CliRunner().invoke(cli, ["bench", "all", "--no-run", "--out", str(out), "--docs", str(docs)])
    assert result.exit_code == 0, result.output
    assert "| 0.33 | 500 | 0.940 | 0.800 | 10.0% | 50.0, 90.0 |" in (docs / "tracking.md").read_text()


def test_a_bench_that_fails_is_reported_and_costs_no_earlier_result(tmp_path, monkeypatch):
    docs, out = _pages(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "tracking.json").write_text(json.dumps(_tracking()))
    monkeypatch.setitem(everything.BENCHES, "tracking", "tracking --rate none")
    arguments = ["bench", "all", "--only", "tracking", "--out", str(out), "--docs", str(docs)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code != 0
    assert json.loads((out / "tracking.json").read_text()) == _tracking()
    assert "0.940" in (docs / "tracking.md").read_text()


def test_an_unknown_bench_is_wrong_usage(tmp_path):
    result = CliRunner().invoke(cli, ["bench", "all", "--only", "pipeline,guess", "--docs", str(tmp_path)])
    assert result.exit_code == 2
    assert "guess; expected some of pipeline" in result.output
