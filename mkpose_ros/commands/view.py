"""`mkpose view`: poses over the image and around the point cloud, in a window or as a PNG."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np
from rich.console import Console
from scipy.spatial.transform import Rotation

from mkpose_ros.commands.image import read_frame
from mkpose_ros.commands.options import common_options, write_json
from mkpose_ros.drawing import draw_poses, tile_images
from mkpose_ros.errors import InputError
from mkpose_ros.geometry.boxes import BOX_EDGES, box_corners
from mkpose_ros.geometry.camera import deproject, project
from mkpose_ros.geometry.rotations import compose_pose
from mkpose_ros.types import ObjectPose, ObjectTruth, RgbdFrame, Symmetry

__all__ = ["load_poses", "picture", "view"]

VIEW_TURN_DEG = (25.0, -30.0)  # of the second picture's camera, about the scene's x and y
FAR_M = 3.0  # points beyond are left out of the cloud


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--split", help="FOLDER is a data set: this split of it.")
@click.option("--frame", "index", type=click.IntRange(min=0), default=0, help="FOLDER is a data set: this frame.")
@click.option("--png", type=click.Path(path_type=Path), help="Write a picture instead of opening a window.")
@common_options
def view(folder: Path, split: str | None, index: int, png: Path | None, json_file: str | None, seed: int) -> None:
    """Look at FOLDER: the --out of `mkpose image`, or a data set with its ground truth.

    Without a display, or without open3d (pip install mkpose_ros[view]), writes view.png.
    """
    frame, poses = _load(folder, split, index)
    if png is None and _has_display():
        _show(frame, poses)
        return
    path = png or Path("view.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture(frame, poses), cv2.COLOR_RGB2BGR))
    Console(stderr=True).print(f"{path}: {len(poses)} objects")
    write_json({"png": str(path), "objects": len(poses)}, json_file)


def load_poses(folder: Path) -> tuple[RgbdFrame, list[ObjectPose]]:
    """The frame and poses that `mkpose image --out FOLDER` wrote. Raises InputError."""
    path = folder / "poses.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        files = document["frame"]
        frame = read_frame(Path(files["rgb"]), Path(files["depth"]), files["k"], files["depth_scale"])
        return frame, [_pose(entry) for entry in document["objects"]]
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {error!r}; expected the --out folder of `mkpose image`") from error


def picture(frame: RgbdFrame, poses: list[ObjectPose] | list[ObjectTruth]) -> np.ndarray:
    """The image with its poses, and the same scene seen from the side, next to each other: (H, W, 3) uint8."""
    T_view_cam = _side_view(frame)
    turned = [replace(pose, T_cam_obj=T_view_cam @ pose.T_cam_obj) for pose in poses]
    side = draw_poses(_splat(frame, T_view_cam), turned, frame.intrinsics)
    return tile_images([draw_poses(frame.rgb, poses, frame.intrinsics), side], columns=2)


def _load(folder: Path, split: str | None, index: int) -> tuple[RgbdFrame, list[ObjectPose] | list[ObjectTruth]]:
    if (folder / "poses.json").is_file():
        return load_poses(folder)
    from mkpose_ros.datasets import open_dataset

    dataset = open_dataset(folder, split)
    if index >= len(dataset):
        raise InputError(f"{folder} has {len(dataset)} frames, --frame is {index}: expected 0 to {len(dataset) - 1}")
    sample = dataset[index]
    return sample.frame, list(sample.objects)


def _pose(entry: dict) -> ObjectPose:
    return ObjectPose(
        category=entry["category"],
        score=entry["score"],
        T_cam_obj=compose_pose(np.array(entry["rotation"]), np.array(entry["translation_m"])),
        size_m=np.array(entry["size_m"]),
        covariance=np.array(entry["covariance"]),
        symmetry=Symmetry(tuple(entry["symmetry"]["infinite_axes"]), tuple(entry["symmetry"]["orders"])),
        box2d=np.array(entry["box2d"], np.float32),
        keypoints_m=np.zeros((0, 3), np.float32),
    )


def _cloud(frame: RgbdFrame) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) in metres and colours (n, 3) uint8 of the pixels with depth up to FAR_M."""
    v, u = np.nonzero((frame.depth_m > 0.0) & (frame.depth_m < FAR_M))
    return deproject(u, v, frame.depth_m[v, u], frame.intrinsics), frame.rgb[v, u]


def _side_view(frame: RgbdFrame) -> np.ndarray:
    """T_view_cam (4, 4) of a camera turned about the middle of the scene."""
    points, _ = _cloud(frame)
    centre = np.median(points, axis=0) if len(points) else np.array([0.0, 0.0, 1.0])
    turn = Rotation.from_euler("xy", VIEW_TURN_DEG, degrees=True).as_matrix()
    return compose_pose(turn, centre - turn @ centre)


def _splat(frame: RgbdFrame, T_view_cam: np.ndarray) -> np.ndarray:
    """The point cloud as the camera at T_view_cam sees it: each point a square of pixels, near ones last."""
    points, colors = _cloud(frame)
    points = points @ T_view_cam[:3, :3].T + T_view_cam[:3, 3]
    order = np.argsort(-points[:, 2])
    uv = project(points[order], frame.intrinsics)
    inside = np.isfinite(uv).all(axis=1)
    uv, colors = np.rint(uv[inside]).astype(int), colors[order][inside]
    height, width = frame.depth_m.shape
    image = np.full((height + 2, width + 2, 3), 24, np.uint8)
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = uv[:, 0] + dx, uv[:, 1] + dy
            seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            image[y[seen], x[seen]] = colors[seen]
    return image[:height, :width]


def _has_display() -> bool:
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        import open3d  # noqa: F401
    except ImportError:
        return False
    return True


def _show(frame: RgbdFrame, poses: list[ObjectPose] | list[ObjectTruth]) -> None:
    import open3d as o3d

    points, colors = _cloud(frame)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    cloud.colors = o3d.utility.Vector3dVector(colors / 255.0)
    shapes: list = [cloud]
    for pose in poses:
        box = o3d.geometry.LineSet(
            o3d.utility.Vector3dVector(box_corners(pose.T_cam_obj, pose.size_m)),
            o3d.utility.Vector2iVector(np.array(BOX_EDGES)),
        )
        axes = o3d.geometry.TriangleMesh.create_coordinate_frame(0.5 * float(np.max(pose.size_m)))
        shapes += [box.paint_uniform_color((1.0, 0.6, 0.1)), axes.transform(pose.T_cam_obj)]
    o3d.visualization.draw_geometries(shapes, window_name="mkpose view", front=(0, 0, -1), up=(0, -1, 0))
