from __future__ import annotations

import shutil
from dataclasses import fields, replace
from functools import partial
from operator import getitem

import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.training.prefetch import Prefetched
from mkpose_ros.training.rendering import render_shards
from mkpose_ros.training.shards import list_shards, read_shard, write_shard
from mkpose_ros.training.sources import LiveSource, MixedSource, ShardSource


def names(samples) -> list[str]:
    return samples.source.tolist()


def relabelled(samples, sources: list[str]):
    return replace(samples, source=np.array(sources))


def test_a_shard_is_read_as_it_was_written(tmp_path, made_up_samples):
    samples = made_up_samples(5)
    write_shard(tmp_path / "x.safetensors", samples)
    again = read_shard(tmp_path / "x.safetensors")
    for f in fields(samples):
        np.testing.assert_array_equal(getattr(again, f.name), getattr(samples, f.name))


def test_a_damaged_shard_is_a_typed_error(tmp_path, made_up_samples):
    write_shard(tmp_path / "x.safetensors", made_up_samples(5))
    data = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"x\.safetensors"):
        read_shard(tmp_path / "x.safetensors")


def test_half_written_shards_are_not_listed(tmp_path, made_up_samples):
    write_shard(tmp_path / "x.safetensors", made_up_samples(2))
    shutil.copy(tmp_path / "x.safetensors", tmp_path / ".y.safetensors.part")
    assert [p.name for p in list_shards([tmp_path])] == ["x.safetensors"]


def test_an_epoch_gives_each_sample_once_in_an_order_of_its_own(shard_folder):
    source = ShardSource([shard_folder], seed=0)
    first, second = (np.concatenate([source.next_batch(8).points_m for _ in range(5)]) for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first.ravel()), np.sort(second.ravel()))


def test_a_batch_may_cross_epochs(shard_folder):
    source = ShardSource([shard_folder], seed=0)
    assert len(source.next_batch(100)) == 100
    assert source.state_dict()["epoch"] == 2


def test_new_shards_join_at_the_next_epoch(shard_folder, made_up_samples):
    source = ShardSource([shard_folder], seed=0)
    source.next_batch(8)
    write_shard(shard_folder / "c.safetensors", made_up_samples(10, seed=9))
    assert len(source) == 40
    source.next_batch(32)
    assert len(source) == 50


def test_a_restored_source_goes_on_where_it_was_even_if_shards_were_added(shard_folder, made_up_samples):
    source = ShardSource([shard_folder], seed=0)
    source.next_batch(8)
    state = source.state_dict()
    expected = [source.next_batch(8).points_m for _ in range(4)]
    write_shard(shard_folder / "0.safetensors", made_up_samples(10, seed=9))
    again = ShardSource([shard_folder], seed=0)
    again.load_state_dict(state)
    for batch in expected:
        np.testing.assert_array_equal(again.next_batch(8).points_m, batch)


def test_ranks_share_an_epoch_without_overlap(shard_folder):
    parts = [ShardSource([shard_folder], seed=0, rank=r, world=2).next_batch(20).points_m for r in range(2)]
    whole = ShardSource([shard_folder], seed=0).next_batch(40).points_m
    np.testing.assert_array_equal(np.sort(np.concatenate(parts).ravel()), np.sort(whole.ravel()))


def test_excluded_categories_never_appear(shard_folder):
    source = ShardSource([shard_folder], seed=0, exclude=["mug"])
    assert set(source.next_batch(20).category) == {"bottle"}
    with pytest.raises(InputError, match="no training crops"):
        ShardSource([shard_folder], seed=0, exclude=["mug", "bottle"])


def test_live_scenes_come_once_in_a_fixed_order_and_resume_unseen(made_up_samples):
    # Scene i gives i % 3 samples; getitem on a list is a renderer that a worker process can be sent.
    scenes = [
        relabelled(made_up_samples(i % 3, n_points=8, crop_px=8), [f"{i}:{k}" for k in range(i % 3)]) if i % 3 else None
        for i in range(60)
    ]
    source = LiveSource(partial(getitem, scenes), workers=2)
    try:
        seen = names(source.next_batch(4)) + names(source.next_batch(4))
        state = source.state_dict()
    finally:
        source.close()
    assert seen == ["1:0", "2:0", "2:1", "4:0", "5:0", "5:1", "7:0", "8:0"]
    again = LiveSource(partial(getitem, scenes), workers=2, first_scene=state["scene"])
    try:
        assert not set(names(again.next_batch(6))) & set(seen)
    finally:
        again.close()


def test_a_mixture_keeps_its_shares(tmp_path, made_up_samples):
    for name, start in (("synthetic", 0), ("real", 1000)):
        samples = relabelled(made_up_samples(50), [f"s{start + i}" for i in range(50)])
        write_shard(tmp_path / name / "a.safetensors", samples)
    source = MixedSource(
        [ShardSource([tmp_path / "synthetic"], seed=0), ShardSource([tmp_path / "real"], seed=0)], [0.75, 0.25]
    )
    batch = names(source.next_batch(32))
    assert sum(int(n[1:]) < 1000 for n in batch) == 24
    state = source.state_dict()
    after = names(source.next_batch(32))
    source.load_state_dict(state)
    assert names(source.next_batch(32)) == after


def test_rendering_goes_on_at_the_first_missing_shard(tmp_path, made_up_samples):
    rendered = []

    def renderer(scene: int):
        rendered.append(scene)
        return made_up_samples(2)

    render_shards(renderer, tmp_path, scenes=10, per_shard=4, name="train")
    assert len(list_shards([tmp_path])) == 3
    (tmp_path / "train-0000004.safetensors").unlink()
    rendered.clear()
    render_shards(renderer, tmp_path, scenes=10, per_shard=4, name="train")
    assert rendered == [4, 5, 6, 7]


def test_a_prefetched_source_restores_to_the_last_batch_handed_out(shard_folder):
    source = Prefetched(ShardSource([shard_folder], seed=0))
    source.next_batch(8)
    state = source.state_dict()
    expected = [source.next_batch(8).points_m for _ in range(6)]
    source.load_state_dict(state)
    for points in expected:
        np.testing.assert_array_equal(source.next_batch(8).points_m, points)
    source.close()
