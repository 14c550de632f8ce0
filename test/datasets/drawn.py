"""Frames of boxes with known poses, written in the layouts of the field."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.types import CameraIntrinsics

REAL = CameraIntrinsics(591.0125, 590.16775, 322.525, 244.11084, 640, 480)
CAMERA = CameraIntrinsics(577.5, 577.5, 319.5, 239.5, 640, 480)
OWN = CameraIntrinsics(150.0, 150.0, 79.5, 59.5, 160, 120)
NOCS_NAMES = ("bottle", "bowl", "camera", "can", "laptop", "mug")


@dataclass(frozen=True)
class Thing:
    instance_id: int
    category: str
    model: str
    T: np.ndarray
    size_m: np.ndarray


def things() -> list[Thing]:
    turn = Rotation.from_euler("xyz", [200, 35, 10], degrees=True).as_matrix()
    other = Rotation.from_euler("xyz", [160, -50, -20], degrees=True).as_matrix()
    return [
        Thing(
            1, "camera", "camera_a_norm", compose_pose(turn, np.array([-0.1, 0.02, 0.8])), np.array([0.10, 0.08, 0.12])
        ),
        Thing(
            2, "laptop", "laptop_b_norm", compose_pose(other, np.array([0.15, -0.03, 1.0])), np.array([0.25, 0.15, 0.2])
        ),
    ]


def draw(objects: list[Thing], k: CameraIntrinsics, wall_m: float = 1.6) -> dict[str, np.ndarray]:
    """color (BGR), depth_m, ids and nocs of boxes before a wall, by casting a ray through each pixel."""
    v, u = np.mgrid[: k.height, : k.width].astype(np.float64)
    rays = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones_like(u)], axis=-1)
    depth, ids = np.full(u.shape, wall_m), np.zeros(u.shape, np.int32)
    nocs = np.zeros((*u.shape, 3))
    for thing in objects:
        R, t = thing.T[:3, :3], thing.T[:3, 3]
        direction, origin = rays @ R, -R.T @ t
        near, far = (-thing.size_m / 2 - origin) / direction, (thing.size_m / 2 - origin) / direction
        enter, leave = np.minimum(near, far).max(axis=-1), np.maximum(near, far).min(axis=-1)
        hit = (enter < leave) & (enter > 0) & (enter < depth)
        depth[hit], ids[hit] = enter[hit], thing.instance_id
        points = origin + direction * enter[..., None]
        nocs[hit] = (points / np.linalg.norm(thing.size_m) + 0.5)[hit]
    color = np.full((*u.shape, 3), 90, np.uint8)
    color[ids > 0] = (nocs[ids > 0] * 255).astype(np.uint8)
    return {"color": color, "depth_m": depth, "ids": ids, "nocs": nocs}


def write_images(stem: Path, drawn: dict[str, np.ndarray], depth_suffix: str = "_depth.png") -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    depth_mm = np.rint(drawn["depth_m"] * 1000).astype(np.uint16)
    cv2.imwrite(f"{stem}_color.png", drawn["color"])
    cv2.imwrite(f"{stem}{depth_suffix}", depth_mm)
    cv2.imwrite(f"{stem}_mask.png", np.where(drawn["ids"] == 0, 255, drawn["ids"]).astype(np.uint8))
    coord = drawn["nocs"].copy()
    coord[..., 2] = 1.0 - coord[..., 2]  # as the benchmark's files have it
    cv2.imwrite(f"{stem}_coord.png", np.rint(coord[..., ::-1] * 255).astype(np.uint8))


def write_meta(stem: Path, objects: list[Thing], synset: str = "") -> None:
    lines = [f"{t.instance_id} {NOCS_NAMES.index(t.category) + 1} {synset} {t.model}".split() for t in objects]
    Path(f"{stem}_meta.txt").write_text("\n".join(" ".join(words) for words in lines) + "\n")


def real_frame(root: Path) -> Path:
    """A REAL275 training frame with the extents of its models; returns its stem."""
    stem = root / "real" / "train" / "scene_1" / "0000"
    write_images(stem, draw(things(), REAL))
    write_meta(stem, things())
    for thing in things():
        path = root / "obj_models" / "real_train" / f"{thing.model}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, thing.size_m)
    return stem


def camera_frame(root: Path, split: str = "train", composed: bool = True) -> Path:
    """A CAMERA25 frame; the plain depth shows the objects only, the composed depth the wall too."""
    stem = root / "camera" / split / "00000" / "0000"
    drawn = draw(things(), CAMERA)
    write_images(stem, drawn)
    depth_mm = np.where(drawn["ids"] > 0, np.rint(drawn["depth_m"] * 1000), 32001).astype(np.uint16)
    coded = np.zeros((*depth_mm.shape, 4), np.uint8)
    coded[..., 1], coded[..., 2], coded[..., 3] = depth_mm >> 8, depth_mm & 255, 255
    cv2.imwrite(f"{stem}_depth.png", coded)
    write_meta(stem, things(), synset="02942699")
    if composed:
        path = root / "camera_full_depths" / split / "00000" / "0000_composed.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.rint(drawn["depth_m"] * 1000).astype(np.uint16))
    return stem


def own_frame(root: Path, name: str = "train/00000/0000") -> Path:
    """A frame as `mkpose synth` writes it; returns its stem."""
    stem = root / name
    write_images(stem, draw(things(), OWN))
    write_meta(stem, things())
    k = OWN
    Path(f"{stem}_intrinsics.json").write_text(json.dumps(vars(k)))
    write_truth(stem, [truth_entry(t) for t in things()])
    return stem


def truth_entry(thing: Thing) -> dict:
    return {
        "instance_id": thing.instance_id,
        "category": thing.category,
        "model": thing.model,
        "T_cam_obj": thing.T.tolist(),
        "size_m": thing.size_m.tolist(),
        "handle_visible": True,
        "symmetry": {"infinite_axes": [], "orders": [1, 1, 1]},
    }


def write_truth(stem: Path, entries: list[dict]) -> None:
    Path(f"{stem}_truth.json").write_text(json.dumps({"objects": entries}))


def label_pickle(stem: Path, **changes) -> None:
    """The label pickle that the field's preprocessing writes beside a frame."""
    objects = things()
    scales = [np.linalg.norm(t.size_m) for t in objects]
    content = {
        "class_ids": [NOCS_NAMES.index(t.category) + 1 for t in objects],
        "instance_ids": [t.instance_id for t in objects],
        "model_list": [t.model for t in objects],
        "rotations": np.stack([t.T[:3, :3] for t in objects]).astype(np.float32),
        "translations": np.stack([t.T[:3, 3] for t in objects]).astype(np.float32),
        "scales": np.array(scales, np.float32),
        "sizes": np.stack([t.size_m / s for t, s in zip(objects, scales, strict=True)]).astype(np.float32),
    } | changes
    Path(f"{stem}_label.pkl").write_bytes(pickle.dumps(content))


def result_content() -> dict:
    """What the benchmark's ground-truth pickles hold, for our frame; the objects in another order."""
    objects = things()[::-1]
    RTs = np.stack([t.T for t in objects])
    scales = np.array([np.linalg.norm(t.size_m) for t in objects])
    RTs[:, :3, :3] *= scales[:, None, None]
    ids = draw(things(), CAMERA)["ids"]
    boxes = []
    for t in objects:
        rows, columns = np.nonzero(ids == t.instance_id)
        boxes.append([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
    return {
        "gt_class_ids": np.array([NOCS_NAMES.index(t.category) + 1 for t in objects]),
        "gt_RTs": RTs,
        "gt_scales": np.stack([t.size_m for t in objects]) / scales[:, None],
        "gt_bboxes": np.array(boxes, np.int32),
        "gt_handle_visibility": np.ones(len(objects), int),
        "obj_list": [f"/somewhere/{t.model}/model.obj" for t in objects],
    }


def write_result(root: Path, folder: str, content: dict, split: str = "val") -> Path:
    path = root / folder / f"results_{split}_00000_0000.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return path


def housecat_scene(root: Path, name: str = "test_scene1") -> Path:
    """One frame of a HouseCat6D scene; returns the scene's folder."""
    scene, drawn = root / name, draw(things(), OWN)
    for folder in ("rgb", "depth", "instance", "labels"):
        (scene / folder).mkdir(parents=True)
    cv2.imwrite(str(scene / "rgb" / "000000.png"), drawn["color"])
    cv2.imwrite(str(scene / "depth" / "000000.png"), np.rint(drawn["depth_m"] * 1000).astype(np.uint16))
    cv2.imwrite(str(scene / "instance" / "000000.png"), np.repeat(drawn["ids"].astype(np.uint8)[..., None], 3, axis=2))
    np.savetxt(scene / "intrinsics.txt", [[OWN.fx, 0, OWN.cx], [0, OWN.fy, OWN.cy], [0, 0, 1]])
    label = {
        "instance_ids": [t.instance_id for t in things()],
        "class_ids": [1, 9],
        "model_list": [t.model for t in things()],
        "rotations": [t.T[:3, :3] for t in things()],
        "translations": [t.T[:3, 3] for t in things()],
        "gt_scales": np.stack([t.size_m for t in things()]),
        "bboxes": np.zeros((2, 4), int),
    }
    (scene / "labels" / "000000_label.pkl").write_bytes(pickle.dumps(label))
    return scene
