"""The settings of the compact Mask R-CNN: its network, and how it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mkpose_ros.errors import InputError
from mkpose_ros.settings import checked_settings, load_settings

__all__ = ["MaskRcnnConfig", "SegmenterTrainConfig", "config_from_dict", "config_to_dict", "load_segmenter_config"]

HINT = "Keys and types are those of mkpose_ros/segmentation/maskrcnn/config.py"


@dataclass(frozen=True)
class MaskRcnnConfig:
    """The network. Pixels are those of its input, input_height x input_width."""

    categories: tuple[str, ...]
    backbone: str = "lite0"  # EfficientNet-Lite 0 or 2
    relief: bool = False  # sees depth too
    input_height: int = 288
    input_width: int = 384
    pyramid: tuple[int, ...] = (2, 3, 4, 5)  # levels of the pyramid that boxes and masks are pooled from
    fpn_channels: int = 64
    pool_samples: int = 2  # a side of each cell that boxes are pooled into; their mean is the cell's value
    anchor_sizes: tuple[tuple[float, ...], ...] = ((16, 24), (36, 54), (80, 116), (170, 240))  # of p3, p4, p5, p6
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width
    box_head_convolutions: int = 0  # of fpn_channels, before the two layers
    box_head_channels: int = 256
    box_passes: int = 1  # of detection: boxes that the box head found are looked at again; mean logits count
    own_second_head: bool = False  # for all looks but the first, as in Cascade R-CNN
    box_vote_iou: float = 1.0  # boxes that overlap by more become their mean; 1: none do
    mask_head_channels: int = 64
    mask_head_convolutions: int = 3
    pre_nms_top: int = 300  # proposals of each level before suppression
    proposals: int = 100
    detections: int = 50
    rpn_nms_iou: float = 0.7
    nms_iou: float = 0.5
    min_score: float = 0.05

    def __post_init__(self) -> None:
        # OmegaConf makes tuples of lists, but not of lists in them.
        object.__setattr__(self, "anchor_sizes", tuple(tuple(float(s) for s in sizes) for sizes in self.anchor_sizes))
        if self.input_height % 32 or self.input_width % 32:
            raise InputError(
                f"segmenter config: input {self.input_height}x{self.input_width}, expected multiples of 32"
            )
        if self.backbone not in ("lite0", "lite2"):
            raise InputError(f"segmenter config: backbone {self.backbone!r}, expected lite0 or lite2")
        if self.box_passes < 1:
            raise InputError(f"segmenter config: box_passes {self.box_passes}, expected 1 or more")
        if self.own_second_head and self.box_passes < 2:
            raise InputError("segmenter config: own_second_head with box_passes 1, expected 2 or more")
        if self.pyramid not in ((2, 3, 4, 5), (3, 4, 5)):
            raise InputError(f"segmenter config: pyramid {self.pyramid}, expected levels 2 to 5 or 3 to 5")


@dataclass(frozen=True)
class SegmenterTrainConfig:
    """How the network is trained."""

    weights: str = ""  # safetensors of this network to start from, such as models/segmenter/model.safetensors
    data: tuple[str, ...] = ()  # folders with COCO annotations, as `mkpose synth` writes
    steps: int = 6000
    batch: int = 2
    workers: int = 0
    learning_rate: float = 1e-3  # AdamW, warmed up, then a cosine down to a hundredth
    backbone_rate: float = 0.2  # of the learning rate
    warmup_steps: int = 200
    weight_decay: float = 1e-3
    gradient_clip: float = 5.0
    frozen_stages: int = 3  # of the backbone's seven, and its stem; all batch norms are frozen
    frozen_by_openvino: bool = False  # run the frozen stages by OpenVINO: faster on a CPU
    rpn_samples: int = 128  # anchors an image
    roi_samples: int = 64  # proposals an image
    roi_share: float = 0.25  # of them on objects, at most
    mask_samples: int = 16  # of those on objects, the most that masks are learnt from
    scale_range: tuple[float, float] = (0.7, 1.5)  # of the picture against the input
    paste_probability: float = 0.3  # objects of another picture pasted in, rare categories first
    depth_drop: float = 0.1  # pictures whose depth is kept from a network that sees relief
    colour_drop: float = 0.2  # pictures with depth that are faded to grey: colour must not be all it learns from
    min_object_px: int = 60  # of the input; smaller visible areas are no training objects
    ema: float = 0.998
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        if self.frozen_by_openvino and self.frozen_stages not in (3, 5, 7):
            raise InputError(
                f"segmenter config: frozen_by_openvino with {self.frozen_stages} frozen stages, expected 3, 5 or 7"
            )


@dataclass
class _File:
    model: MaskRcnnConfig
    train: SegmenterTrainConfig = field(default_factory=SegmenterTrainConfig)


def load_segmenter_config(
    path: str | Path, overrides: Sequence[str] = ()
) -> tuple[MaskRcnnConfig, SegmenterTrainConfig]:
    """Read a YAML file with the sections `model` and `train`, or a shipped one by name ("segmenter_small").

    An override is "train.steps=100" or "model.backbone=lite2". Raises InputError that names the key when it is unknown
    or of the wrong type.
    """
    sections = load_settings(_File, path, overrides, HINT)
    return sections.model, sections.train


def config_from_dict(values: Mapping[str, Any]) -> MaskRcnnConfig:
    """The inverse of `dataclasses.asdict`, also after a trip through JSON. Raises InputError."""
    return checked_settings(MaskRcnnConfig, values, "segmenter config", HINT)


def config_to_dict(config: MaskRcnnConfig) -> dict[str, Any]:
    """A dictionary that JSON can hold."""
    return asdict(config)
