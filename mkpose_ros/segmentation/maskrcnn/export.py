"""From a training run to the ONNX file that the node runs, and the proof that both agree."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mkpose_ros.errors import ModelError
from mkpose_ros.segmentation.maskrcnn.config import config_from_dict
from mkpose_ros.segmentation.maskrcnn.model import PIXEL_MEAN, MaskRcnn
from mkpose_ros.segmentation.maskrcnn.weights import load_trained
from mkpose_ros.segmentation.masks import paste_mask
from mkpose_ros.segmentation.onnx_maskrcnn import FORMAT_VERSION, OUTPUTS, SegmenterMetadata
from mkpose_ros.segmentation.relief import COLOURS, RELIEF_CHANNELS
from mkpose_ros.segmentation.sessions import open_session
from mkpose_ros.training.checkpoint import latest_checkpoint, load_weights
from mkpose_ros.types import RgbdFrame

__all__ = ["Agreement", "agreement", "export_run", "load_run", "rounded", "write_onnx"]

OPSET = 17


@dataclass(frozen=True)
class Agreement:
    """How far two ways of running one model are apart, over some pictures."""

    pictures: int
    detections: int  # of the first way, above the score of 0.3
    unmatched: int  # of either way, without a partner of the same class in the other
    box_px: float  # the largest difference of a coordinate
    score: float  # the largest difference of a score
    mask_share: float  # the smallest share of pixels, inside a box, on which two masks agree

    @property
    def good(self) -> bool:
        """Boxes within 0.5 px, scores within 1e-3, masks on 99 % of their pixels."""
        return self.unmatched == 0 and self.box_px <= 0.5 and self.score <= 1e-3 and self.mask_share >= 0.99


def load_run(
    run: Path, size: tuple[int, int] | None = None, mean_with: Path | None = None, mean_share: float = 0.5
) -> tuple[MaskRcnn, int]:
    """The averaged model of a run folder's newest checkpoint, in evaluation mode, and its step.

    `size` is another (height, width) of its input than it was trained with; `mean_with` are weights (safetensors) to
    take the mean with, such as those that the run started from: often better than either (Wortsman et al., *Model
    soups*, 2022); `mean_share` is what they count in it.
    """
    checkpoint = latest_checkpoint(Path(run))
    if checkpoint is None:
        raise ModelError(f"{run}: no checkpoint; train one with `mkpose train --config segmenter_small`")
    config = config_from_dict(json.loads((Path(run) / "config.json").read_text(encoding="utf-8"))["model"])
    if size is not None:
        config = replace(config, input_height=size[0], input_width=size[1])
    model = MaskRcnn(config).eval()
    model.load_state_dict(load_weights(checkpoint / "ema.safetensors"))
    if mean_with is not None:
        other = MaskRcnn(config)
        load_trained(other, mean_with)
        theirs = other.state_dict()
        model.load_state_dict(
            {k: v.lerp(theirs[k], mean_share) if v.is_floating_point() else v for k, v in model.state_dict().items()}
        )
    return model, int(checkpoint.name.removeprefix("step-"))


def export_run(
    run: Path,
    path: Path,
    training: dict[str, Any] | None = None,
    size: tuple[int, int] | None = None,
    mean_with: Path | None = None,
    mean_share: float = 0.5,
) -> MaskRcnn:
    """Write a run's newest weights as ONNX, with `training` (data, hours, figures) in its metadata.

    A larger input than in training (`size`: height, width) finds more for more time: objects are seen larger, and
    training has shown them in many sizes. `mean_with`, `mean_share`: see `load_run`.

    Weights are stored in half precision, which halves the file; the module returned has the same rounded weights.
    """
    model, step = load_run(run, size, mean_with, mean_share)
    model, config = rounded(model), model.config
    metadata = {
        "name": f"maskrcnn-efficientnet-{config.backbone}",
        "input_height": config.input_height,
        "input_width": config.input_width,
        "fill": int(PIXEL_MEAN),
        "relief": config.relief,
        "categories": list(config.categories),
        "training": {"steps": step, **(training or {})},
        "model": asdict(config),
    }
    write_onnx(model, path, metadata)
    return model


def rounded(model: MaskRcnn) -> MaskRcnn:
    """The network with its norms merged into convolutions and half precision's weights, as it is exported; in place."""
    model.backbone.bottom_up.merge_norms()
    return model.half().float()


def write_onnx(model: nn.Module, path: Path, metadata: dict[str, Any]) -> None:
    """Write a module (H, W, 3 or 7) uint8 -> boxes, scores, labels, masks as ONNX of the segmenter's contract."""
    import onnx

    channels = COLOURS + RELIEF_CHANNELS * bool(metadata.get("relief"))
    image = torch.zeros((metadata["input_height"], metadata["input_width"], channels), dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer warns of every shape it takes as a constant, which is meant here
        torch.onnx.export(
            model,
            (image,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "objects"} for name in OUTPUTS},
        )
    graph = onnx.load(path)
    _store_in_half(graph)
    described = {"kind": "segmenter", "format_version": FORMAT_VERSION, **metadata}
    onnx.helper.set_model_props(graph, {"mkpose": json.dumps(described)})
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def _store_in_half(model: Any) -> None:
    """Store large weights that half precision holds exactly in that; a Cast restores them when the file is loaded."""
    import onnx

    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(weight)
        half = values.astype(np.float16)
        if values.size < 256 or not np.array_equal(half.astype(np.float32), values):
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)


def agreement(
    model: nn.Module, path: Path, frames: Sequence[RgbdFrame], runtime: str = "onnxruntime", min_score: float = 0.3
) -> Agreement:
    """Compare a module with its ONNX file on some frames."""
    session = open_session(path, runtime)
    metadata = SegmenterMetadata.parse(session.metadata, path)
    detections = unmatched = 0
    box_px = score = 0.0
    mask_share = 1.0
    for frame in frames:
        canvas, _ = metadata.canvas(frame)
        with torch.inference_mode():
            first = [values.numpy() for values in model(torch.from_numpy(canvas))]
        outputs = session.run({"image": canvas})
        second = [outputs[name] for name in OUTPUTS]
        unmatched += sum(_partner(second, int(i), first) is None for i in np.flatnonzero(second[1] >= min_score))
        for index in np.flatnonzero(first[1] >= min_score):
            detections += 1
            partner = _partner(first, int(index), second)
            if partner is None:
                unmatched += 1
                continue
            box_px = max(box_px, float(np.abs(first[0][index] - second[0][partner]).max()))
            score = max(score, float(abs(first[1][index] - second[1][partner])))
            masks = [
                paste_mask(way[3][row], way[0][row], *canvas.shape[:2])
                for way, row in ((first, index), (second, partner))
            ]
            union = max(np.count_nonzero(masks[0] | masks[1]), 1)
            mask_share = min(mask_share, float(1.0 - np.count_nonzero(masks[0] ^ masks[1]) / union))
    return Agreement(len(frames), detections, unmatched, box_px, score, mask_share)


def _partner(first: list[np.ndarray], index: int, second: list[np.ndarray]) -> int | None:
    """The row of the same class in `second` whose box is nearest, None when none is within 10 px."""
    same = np.flatnonzero(second[2] == first[2][index])
    if len(same) == 0:
        return None
    distance = np.abs(second[0][same] - first[0][index]).max(axis=1)
    return int(same[distance.argmin()]) if distance.min() < 10.0 else None
