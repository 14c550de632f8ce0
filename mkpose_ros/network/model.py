"""MK-Pose: from crops, points and text to rotation, translation and size (the paper's figure 2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from mkpose_ros.errors import InputError, ModelError
from mkpose_ros.inference.metadata import FORMAT_VERSION
from mkpose_ros.network.config import ModelConfig, config_from_dict
from mkpose_ros.network.fusion import FeatureFusion
from mkpose_ros.network.heads import NocsHead, PoseSizeHead, Reconstructor, UncertaintyHead
from mkpose_ros.network.image import ImageEncoder
from mkpose_ros.network.keypoints import GraphAttention, KeypointDetector, ObjectFeatures, TextTokens
from mkpose_ros.network.points import PointNet2

__all__ = ["MKPose", "ModelOutput", "load_checkpoint", "save_checkpoint"]


class ModelOutput(NamedTuple):
    """What MKPose returns; metres, camera axes, positions relative to the cloud's given origin (its centroid)."""

    rotation: Tensor  # R (B, 3, 3), camera from object
    translation_m: Tensor  # t (B, 3), the object's centre
    size_m: Tensor  # s (B, 3), full extents along the object's axes, > 0
    keypoints_m: Tensor  # P_kpt (B, K, 3)
    nocs: Tensor  # (B, K, 3) in [-0.5, 0.5], metric coordinates divided by |s|
    log_variance: Tensor  # (B, 6): translation x, y, z in the camera frame, rotation about the object's x, y, z
    axis_symmetric_logit: Tensor  # (B,): is the object, as seen now, continuous about y
    reconstruction_m: Tensor | None  # P_rec (B, K N_p, 3); None without the reconstructor
    offsets_m: Tensor | None  # delta P (B, K, N_p, 3)
    heatmap: Tensor  # H (B, K, N)


class MKPose(nn.Module):
    """The network at the dimensions and with the ablations of a configuration."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        d, heads, ablation = config.d, config.heads, config.ablation
        self.image = ImageEncoder(config.image, config.d_image)
        self.point = PointNet2(config.point, config.d_point)
        self.text = TextTokens(config.text_dim, d)
        self.object = ObjectFeatures(config)
        self.detector = KeypointDetector(config)
        self.graph = GraphAttention(d, heads)
        self.fusion = FeatureFusion(d, heads, config.neighbors, config.fusion_blocks)
        self.fusion.requires_grad_(ablation.feature_fusion)
        self.reconstructor = Reconstructor(d, config.reconstruction_points) if ablation.reconstructor else None
        self.nocs = NocsHead(d, heads, config.nocs_bins)
        self.pose = PoseSizeHead(d)
        self.uncertainty = UncertaintyHead(d)

    def forward(
        self, image_u8: Tensor, points_m: Tensor, pixels: Tensor, text: Tensor, text_mask: Tensor
    ) -> ModelOutput:
        """Poses of B instances.

        Args:
            image_u8: (B, S, S, 3) uint8 RGB crops.
            points_m: (B, N, 3) camera axes, any origin (the centroid), in farthest-point order.
            pixels: (B, N, 2) where each point lies in its crop: (x, y) in [-1, 1], align_corners=False.
            text: (B, T, D) token features of the category's description.
            text_mask: (B, T), 1 where a token is.

        A cloud moved by v moves keypoints and translation by v and nothing else: the cloud is centred here.
        """
        centre = points_m.mean(dim=1, keepdim=True)
        points = points_m - centre
        f_text = self.text(text)
        f_obj, f_context = self.object(self.image(image_u8, pixels), self.point(points), f_text, text_mask, points)
        found = self.detector(f_obj, f_context, f_text, text_mask, points)
        f_kpt = self.graph(found.features)
        reconstruction, offsets = (None, None)
        if self.reconstructor is not None:
            reconstruction, offsets = self.reconstructor(found.points_m, f_kpt)
            reconstruction = reconstruction + centre
        if self.config.ablation.feature_fusion:
            f_kpt = self.fusion(found.points_m, f_kpt, points, f_obj)
        nocs = self.nocs(f_kpt)
        rotation, translation_m, size_m, pooled = self.pose(found.points_m.detach(), nocs, f_kpt)
        log_variance, logit = self.uncertainty(pooled)
        return ModelOutput(
            rotation, translation_m + centre[:, 0], size_m, found.points_m + centre, nocs, log_variance, logit,
            reconstruction, offsets, found.heatmap,
        )  # fmt: skip

    def check_inputs(self, image_u8: Tensor, points_m: Tensor, pixels: Tensor, text: Tensor, text_mask: Tensor) -> None:
        """Raise InputError, naming the input, when a shape, a type or a value is not what forward expects."""
        c, b = self.config, image_u8.shape[0]
        expected = {
            "image_u8": (image_u8, (b, c.crop_px, c.crop_px, 3)),
            "points_m": (points_m, (b, c.n_points, 3)),
            "pixels": (pixels, (b, c.n_points, 2)),
            "text": (text, (b, c.text_tokens, c.text_dim)),
            "text_mask": (text_mask, (b, c.text_tokens)),
        }
        for name, (tensor, shape) in expected.items():
            if tuple(tensor.shape) != shape:
                raise InputError(f"MKPose {c.name}: {name} has shape {tuple(tensor.shape)}, expected {shape}")
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise InputError(f"MKPose {c.name}: {name} holds NaN or infinite values; drop those points first")


def save_checkpoint(model: MKPose, path: Path, extra: dict[str, Any] | None = None) -> None:
    """Write weights, configuration and `extra` (JSON-able: training, calibration, text_hash) to a .safetensors file."""
    from safetensors.torch import save_file

    header = {"format_version": FORMAT_VERSION, "config": model.config.to_dict(), "extra": extra or {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, path, metadata={"mkpose": json.dumps(header)})
    path.chmod(0o644)  # the writer leaves it readable by its owner alone


def load_checkpoint(path: Path) -> tuple[MKPose, dict[str, Any]]:
    """The model (in evaluation mode) and the `extra` of a file of `save_checkpoint`.

    Raises ModelError when the file is missing, damaged, of another version, or its keys or shapes do not fit.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["mkpose"])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(
            f"checkpoint {path}: {type(error).__name__}: {error}. Expected a .safetensors file that mkpose train wrote"
        ) from error
    if header.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"checkpoint {path}: format version {header.get('format_version')}, this package reads {FORMAT_VERSION}. "
            "Use the matching mkpose_ros version or train again"
        )
    try:
        model = MKPose(config_from_dict(header["config"], where=f"checkpoint {path}"))
        model.load_state_dict(state)
    except (InputError, KeyError, RuntimeError) as error:
        raise ModelError(f"checkpoint {path}: {error}") from error
    return model.eval(), header.get("extra", {})
