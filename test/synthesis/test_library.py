"""Libraries: deterministic by seed, splits that share no shape, real meshes for the test."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mkpose_ros.errors import InputError
from mkpose_ros.synthesis.library import SPLITS, ShapeLibrary
from mkpose_ros.synthesis.shapes import Shape


def fingerprint(shape: Shape) -> str:
    """Equal for shapes that are equal up to scale."""
    unit = np.round(shape.vertices_m / shape.size_m.max(), 4)
    return hashlib.sha256(unit.tobytes()).hexdigest()


def test_the_same_seed_gives_the_same_shapes() -> None:
    for category in ("mug", "camera", "shoe", "distractor"):
        a, b = (ShapeLibrary("train", seed=5).get(category, 7) for _ in range(2))
        np.testing.assert_array_equal(a.vertices_m, b.vertices_m)
        for x, y in zip(a.materials, b.materials, strict=True):
            assert (x.texture is None) == (y.texture is None)
            if x.texture is not None:
                np.testing.assert_array_equal(x.texture, y.texture)
    first, second = (ShapeLibrary("train").sample(np.random.default_rng(4)).name for _ in range(2))
    assert first == second


def test_splits_share_no_shape_and_no_scaled_copy() -> None:
    seen: dict[str, str] = {}
    for split in SPLITS:
        library = ShapeLibrary(split, folders=())
        for category in ("bottle", "bowl", "mug", "cutlery"):
            for index in range(60):
                shape = library.get(category, index)
                key = fingerprint(shape)
                assert key not in seen, f"{shape.name} equals {seen.get(key)}"
                seen[key] = shape.name
    assert len(seen) == 3 * 4 * 60


def test_another_seed_gives_other_shapes() -> None:
    a, b = (ShapeLibrary("train", seed=s).get("bottle", 0) for s in (0, 1))
    assert fingerprint(a) != fingerprint(b)
    assert a.name != b.name


def test_the_test_split_prefers_real_meshes_and_training_never_draws_them() -> None:
    rng = np.random.default_rng(0)
    test, train = ShapeLibrary("test"), ShapeLibrary("train")
    for category in ("bottle", "bowl", "laptop", "mug"):
        assert test.count_real(category) >= 3
        assert train.count_real(category) == 0
        assert all(test.sample(rng, category).source != "generator" for _ in range(10))
    assert test.sample(rng, "tube").source == "generator"
    assert all(train.sample(rng).source == "generator" for _ in range(20))


def test_only_the_training_split_draws_variants() -> None:
    rng = np.random.default_rng(0)
    numbers = {
        split: [int(ShapeLibrary(split, folders=()).sample(rng, "box").name[-5:]) for _ in range(40)]
        for split in SPLITS
    }
    assert max(numbers["val"]) < 1000
    assert max(numbers["test"]) < 500
    assert 3 < sum(number >= 20_000 for number in numbers["train"]) < 25


def test_some_variants_are_in_plain_colours() -> None:
    library = ShapeLibrary("train")
    textured = [
        any(material.texture is not None for material in library.get("box", index).materials)
        for index in (*range(40), *range(20_000, 20_040))
    ]
    assert all(textured[:40])
    assert 20 < sum(textured[40:]) < 35


def test_every_shipped_real_mesh_is_canonical_and_licensed() -> None:
    library = ShapeLibrary("test")
    count = 0
    for category in (*library.categories, "distractor"):
        for index in range(library.count_real(category)):
            shape = library.real(category, index)
            np.testing.assert_allclose(np.ptp(shape.vertices_m, axis=0), shape.size_m, atol=1e-6)
            np.testing.assert_allclose(shape.vertices_m.max(axis=0) + shape.vertices_m.min(axis=0), 0.0, atol=1e-6)
            assert shape.size_m.max() < 0.45
            assert (shape.handle_vertices is not None) == (category == "mug")
            count += 1
    assert count > 40


def test_a_real_mugs_handle_reaches_to_plus_x() -> None:
    library = ShapeLibrary("test")
    for index in range(library.count_real("mug")):
        shape = library.real("mug", index)
        handle = shape.vertices_m[shape.handle_vertices]
        assert handle[:, 0].max() == pytest.approx(shape.size_m[0] / 2, abs=1e-5)
        assert np.abs(handle[:, 2]).max() < 0.25 * shape.size_m[2]


def test_samples_without_a_category_cover_all_but_distractors() -> None:
    library = ShapeLibrary("train", categories=("mug", "can"))
    rng = np.random.default_rng(2)
    assert {library.sample(rng).category for _ in range(30)} == {"mug", "can"}
    assert "distractor" not in ShapeLibrary("train").categories
    assert library.sample(rng, "distractor").category == "distractor"


def test_the_cache_hands_back_the_same_object_and_stays_small() -> None:
    library = ShapeLibrary("train", cache_size=2)
    shape = library.get("can", 1)
    assert library.get("can", 1) is shape
    library.get("can", 2)
    library.get("can", 3)
    assert library.get("can", 1) is not shape


def test_unknown_splits_and_categories_are_refused_with_the_choices() -> None:
    with pytest.raises(InputError, match="train, val, test"):
        ShapeLibrary("dev")
    with pytest.raises(InputError, match="bottle"):
        ShapeLibrary("train", categories=("spaceship",))
    with pytest.raises(InputError, match="bottle"):
        ShapeLibrary("train").sample(np.random.default_rng(0), "spaceship")
    with pytest.raises(InputError, match="mug"):
        ShapeLibrary("train").get("spaceship", 0)
