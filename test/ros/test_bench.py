"""The stopwatch of the node."""

from __future__ import annotations

from mkpose_ros.bench.node import bench_node


def test_the_bench_counts_every_frame_and_its_parts_fit_into_the_whole():
    rows = bench_node(frames=20, rate_hz=5.0)
    inside, outside, *stages = rows
    assert {"name", "backend", "model", "batch", "threads", "median_ms", "p95_ms", "p99_ms", "per_s", "rss_mb"} <= set(
        inside
    )
    assert inside["sent"] == 20
    assert inside["lost"] == 0  # images larger than Fast DDS' own shared memory: the shipped profile is in use
    assert 0 <= inside["skipped"] < 20
    assert 0.0 < inside["median_ms"] <= outside["p99_ms"]
    assert [row["name"].strip() for row in stages] == ["wait", "convert", "crops", "poses", "tracking"]
    assert sum(row["median_ms"] for row in stages) <= inside["p99_ms"] * 1.5
    assert 50 < inside["rss_mb"] < 700
    assert inside["batch"] == 5
    assert 0 < inside["page_faults"] < 5000  # of a process that is still warming up
