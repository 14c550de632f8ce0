"""`mkpose image`: the poses in one RGB-D frame from files, without ROS."""

from __future__ import annotations

from pathlib import Path

import click
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from mkpose_ros.categories import NOCS_CATEGORIES
from mkpose_ros.commands.options import common_options, write_json
from mkpose_ros.errors import InputError
from mkpose_ros.types import CameraIntrinsics, Instance, ObjectPose, RgbdFrame

__all__ = ["image", "instances_from_file", "pose_json", "read_frame"]

FilePath = click.Path(path_type=Path)


def _numbers(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}; expected four numbers fx,fy,cx,cy in pixels") from error
    if len(numbers) != 4:
        raise click.BadParameter(f"{len(numbers)} numbers; expected four, fx,fy,cx,cy in pixels")
    return numbers


def _names(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _descriptions(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=")[::2] for text in texts]
    if not all(name and description for name, description in pairs):
        raise click.BadParameter('expected NAME=TEXT, such as "kettle=A round pot with a spout and a handle on top."')
    return dict(pairs)


@click.command()
@click.option("--rgb", type=FilePath, required=True, help="Colour image.")
@click.option("--depth", type=FilePath, required=True, help="Depth image on the colour image's pixel grid.")
@click.option("--k", callback=_numbers, required=True, metavar="FX,FY,CX,CY", help="Intrinsics in pixels.")
@click.option("--depth-scale", type=float, help="Metres of one depth unit; default 0.001 for 16 bit, 1 for float.")
@click.option("--masks", type=FilePath, help="Label image with an id for each object; default: segment the image.")
@click.option(
    "--categories",
    callback=_names,
    metavar="A,B",
    help="With --masks: the category of each id, ascending, or one for all; without: look for these only.",
)
@click.option("--describe", multiple=True, callback=_descriptions, metavar="NAME=TEXT", help="A new category's shape.")
@click.option("--min-score", type=click.FloatRange(0.0, 1.0), default=0.3, help="Less certain objects are left out.")
@click.option("--out", type=FilePath, required=True, help="Folder for poses.json and overlay.png.")
@click.option("--model", default="small", help="A size (small, base), or the path of a model or its folder.")
@click.option("--engine", default="auto", help="Inference engine.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads; 0: one a core.")
@common_options
def image(
    rgb: Path,
    depth: Path,
    k: tuple[float, float, float, float],
    depth_scale: float | None,
    masks: Path | None,
    categories: tuple[str, ...],
    describe: dict[str, str],
    min_score: float,
    out: Path,
    model: str,
    engine: str,
    threads: int,
    json_file: str | None,
    seed: int,
) -> None:
    """Estimate the poses of the objects in one frame.

    Writes poses.json and overlay.png; poses are object to camera, objects y-up, metres. Masks may follow the NOCS
    benchmark (ids in the red channel, 255 is background); without --categories they need its *_meta.txt beside them.
    """
    from mkpose_ros.drawing import draw_poses
    from mkpose_ros.inference.engine import open_engine
    from mkpose_ros.inference.estimator import PoseEstimator
    from mkpose_ros.inference.text_features import load_text_features
    from mkpose_ros.pipeline import Pipeline, check_frame
    from mkpose_ros.segmentation import CleanConfig, OutsideMasks, calibrated_thresholds, open_segmenter

    frame = read_frame(rgb, depth, k, depth_scale)
    check_frame(frame)
    segmenter = OutsideMasks() if masks else open_segmenter(threads=threads)
    if masks:
        segmenter.put(frame.stamp_ns, instances_from_file(masks, frame.depth_m.shape, categories))
    features = load_text_features()
    if describe:
        features.add(describe)
    estimator = PoseEstimator(open_engine(model_path(model), engine, threads=threads), features, seed=seed)
    clean = CleanConfig(
        score_threshold=min_score,
        class_thresholds=calibrated_thresholds(segmenter, min_score),
        categories=None if masks else categories or None,
    )
    pipeline = Pipeline(segmenter, estimator, clean=clean)
    result = pipeline.process(frame)
    pipeline.close()

    out.mkdir(parents=True, exist_ok=True)
    overlay = draw_poses(frame.rgb, result.objects, frame.intrinsics)
    cv2.imwrite(str(out / "overlay.png"), cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
    files = {"rgb": str(rgb.resolve()), "depth": str(depth.resolve()), "depth_scale": depth_scale, "k": k}
    document = {"objects": [pose_json(pose) for pose in result.objects], "frame": files, "stages_ms": result.stages_ms}
    write_json(document, str(out / "poses.json"))
    write_json(document, json_file)
    _report(Console(stderr=True), result.objects, dict(+pipeline.dropped), out)


def model_path(model: str) -> Path:
    """The path of a model given by its size, or by a path."""
    from mkpose_ros.resources import share_path

    return share_path("models", model) if Path(model).parts == (model,) and not Path(model).exists() else Path(model)


def read_frame(rgb: Path, depth: Path, k: tuple[float, ...], depth_scale: float | None = None) -> RgbdFrame:
    """A frame of two image files; depth_scale: metres a unit, None by the pixel type. Raises InputError."""
    from mkpose_ros.datasets.images import decode_depth_m, read_color

    color = read_color(rgb)
    values = _read_raw(depth)
    if depth_scale is not None and not depth_scale > 0.0:
        raise InputError(f"--depth-scale is {depth_scale}, expected metres a unit, such as 0.001")
    if values.ndim == 3 and values.dtype == np.uint8:
        depth_m = decode_depth_m(values, str(depth))  # NOCS: G * 256 + R in millimetres
    elif values.ndim != 2 or values.dtype not in (np.uint16, np.float32):
        raise InputError(f"{depth}: {values.dtype} {values.shape}, expected one channel of 16-bit or float depth")
    else:
        scale = depth_scale or (0.001 if values.dtype == np.uint16 else 1.0)
        depth_m = values.astype(np.float32) * np.float32(scale)
    height, width = color.shape[:2]
    return RgbdFrame(color, depth_m, CameraIntrinsics(*k, width, height))


def instances_from_file(path: Path, shape: tuple[int, int], categories: tuple[str, ...] = ()) -> list[Instance]:
    """The instances of a label image; categories: of its ids, ascending; () to read the NOCS *_meta.txt beside it."""
    from mkpose_ros.segmentation import instances_from_label_image

    labels = _read_raw(path)
    labels = (labels[..., 2] if labels.ndim == 3 else labels).astype(np.int32)  # OpenCV's channel 2 is red
    if labels.shape != tuple(shape):
        raise InputError(f"{path}: {labels.shape[1]}x{labels.shape[0]} pixels, the frame has {shape[1]}x{shape[0]}")
    ids = [int(v) for v in np.unique(labels) if v != 0]
    if ids != [255]:  # a lone 255 is a black-and-white mask; beside other ids it is NOCS' background
        ids = [v for v in ids if v != 255]
    names = _meta_categories(path) if not categories else dict(zip(ids, categories * len(ids), strict=False))
    if categories and len(categories) not in (1, len(ids)):
        raise InputError(f"{path} holds {len(ids)} ids ({ids}), but --categories names {len(categories)}")
    return instances_from_label_image(labels, {v: names[v] for v in ids if v in names})


def pose_json(pose: ObjectPose) -> dict:
    """A pose as `mkpose image --json` writes it: y-up object frame, metres, radians, pixels."""
    return {
        "category": pose.category,
        "score": float(pose.score),
        "rotation": pose.T_cam_obj[:3, :3].tolist(),
        "translation_m": pose.T_cam_obj[:3, 3].tolist(),
        "size_m": pose.size_m.tolist(),
        "covariance": pose.covariance.tolist(),
        "box2d": [float(v) for v in pose.box2d],
        "symmetry": {"infinite_axes": list(pose.symmetry.infinite_axes), "orders": list(pose.symmetry.orders)},
    }


def _read_raw(path: Path) -> np.ndarray:
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if values is None:
        raise InputError(f"{path}: {'not a readable image' if path.exists() else 'no such file'}")
    return values


def _meta_categories(path: Path) -> dict[int, str]:
    """Category by id from the NOCS benchmark's file beside a mask: lines of id, class id (0: no object), model."""
    meta = path.with_name(path.name.replace("_mask", "_meta")).with_suffix(".txt")
    if not meta.is_file():
        raise click.UsageError(f"--masks needs --categories (there is no {meta.name} beside it to tell them)")
    rows = [line.split()[:2] for line in meta.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        classes = {int(instance): int(class_id) for instance, class_id in rows}
        return {instance: NOCS_CATEGORIES[c - 1] for instance, c in classes.items() if c > 0}
    except (ValueError, IndexError) as error:
        raise InputError(f"{meta}: {error}; expected lines `id class_id model` with class ids 0 to 6") from error


def _report(console: Console, objects: list[ObjectPose], dropped: dict[str, int], out: Path) -> None:
    table = Table("category", "score", "x, y, z (m)", "size (cm)", "sigma (cm, degrees)", "free to turn about")
    for pose in objects:
        sigma_m = np.sqrt(np.diag(pose.covariance)[:3].max())
        turns = np.sqrt(np.linalg.eigvalsh(pose.covariance[3:, 3:]))  # ascending: free axes come last
        sigma_deg = np.degrees(turns[: max(3 - len(pose.symmetry.infinite_axes), 1)].max())
        table.add_row(
            pose.category,
            f"{pose.score:.2f}",
            ", ".join(f"{v:.3f}" for v in pose.T_cam_obj[:3, 3]),
            " x ".join(f"{100 * v:.1f}" for v in pose.size_m),
            f"{100 * sigma_m:.1f}, {sigma_deg:.0f}",
            ", ".join(pose.symmetry.infinite_axes) or "-",
        )
    if not console.is_terminal:
        console.width = 140
    console.print(table)
    without = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    console.print(f"{out / 'overlay.png'}, {out / 'poses.json'}" + (f"; without a pose: {without}" if dropped else ""))
