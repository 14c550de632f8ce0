"""`mkpose eval` as a library function: open data and model, run, score in all three modes, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkpose_ros.datasets import Dataset, open_dataset
from mkpose_ros.errors import InputError, MkposeError, ModelError
from mkpose_ros.evaluation.card import card_section, put_section
from mkpose_ros.evaluation.evaluator import Report, average_precision_curves, evaluate
from mkpose_ros.evaluation.protocol import Mode, protocol_for
from mkpose_ros.evaluation.report import Source, metrics_json, write_report
from mkpose_ros.evaluation.runner import EvaluationRun, Masks, run_estimator
from mkpose_ros.evaluation.synthetic_data import DEFAULT_FRAMES, synthetic_dataset
from mkpose_ros.inference.engine import open_engine
from mkpose_ros.inference.estimator import PoseEstimator
from mkpose_ros.inference.text_features import load_text_features
from mkpose_ros.resources import share_path
from mkpose_ros.segmentation import open_segmenter

__all__ = ["EvaluationRequest", "Outcome", "evaluate_model"]

Progress = Callable[[str, int, int], None]  # stage, done, total


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """What to evaluate; the fields are the options of `mkpose eval`."""

    data: Path | None = None  # None: synthetic scenes
    split: str = "test"
    mode: str = "nocs"
    masks: str = "gt"
    limit: int | None = None
    model: str = "small"
    engine: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """An evaluation that has run: the reports of all modes, the requested one first."""

    reports: tuple[Report, ...]
    run: EvaluationRun
    dataset: Dataset
    source: Source
    trained: tuple[str, ...] = ()  # the categories that the model was trained on

    def to_json(self) -> dict[str, Any]:
        """The figures that docs/cli.md promises."""
        return metrics_json(self.reports[0])

    def summary(self) -> str:
        """A few lines for a terminal."""
        lines = [f"{self.source.data}: {self.reports[0].images} images, {self.to_json()['instances']} objects"]
        for report in self.reports:
            figures = "  ".join(f"{name} {report.mean(name):.1f}" for name in report.ap)
            lines.append(f"{report.mode.value:8} {figures}")
        values = self.reports[0].statistics.summary()
        if values["pairs"]:
            lines.append(
                f"medians  {values['median_rotation_deg']:.1f} degrees  {values['median_translation_cm']:.2f} cm  "
                f"IoU {values['median_iou']:.2f}"
            )
        if self.dataset.faults:
            lines.append(f"{len(self.dataset.faults)} faults in the data were skipped; the report lists them")
        return "\n".join(lines)

    def write(self, out: Path) -> None:
        """The report with its figures, into a folder."""
        lead = self.reports[0]
        curves = average_precision_curves(self.run.predictions, self.run.truths, lead.mode, protocol=lead.protocol)
        write_report(self.reports, curves, self.run, self.dataset, self.source, out)

    def write_card(self, folder: Path, command: str) -> None:
        """The section of the test split in the card (README.md) of a model's folder."""
        put_section(folder / "README.md", card_section(self.reports, self.trained, self.source, command))


def evaluate_model(request: EvaluationRequest, progress: Progress = lambda *_: None) -> Outcome:
    """Run a model over a data set and score it. Raises MkposeError for data, models or engines that can't be had."""
    masks, lead = Masks(request.masks), Mode.parse(request.mode)
    dataset = _open_data(request, progress)
    estimator = _open_estimator(request)
    segmenter = _segmenter_if_needed(dataset, masks)
    try:
        run = run_estimator(
            dataset,
            estimator,
            masks,
            segmenter=segmenter,
            limit=request.limit,
            progress=lambda done, total: progress("estimating", done, total),
        )
    finally:
        estimator.engine.close()
        if segmenter is not None:
            segmenter.close()
    if not run.frames:
        raise InputError(f"{request.data}: not one readable frame; `mkpose data check {request.data}` says why")
    protocol = protocol_for(dataset.categories)
    modes = [lead, *(m for m in Mode if m is not lead)]
    reports = tuple(evaluate(run.predictions, run.truths, mode, protocol=protocol) for mode in modes)
    source = Source(
        data=f"{dataset.name} ({request.data or f'seed {request.seed}'}, split {request.split})",
        model=f"{request.model}, engine {estimator.engine.name}",
        masks={"gt": "ground truth", "predicted": "predicted"}[masks.value],
        unreadable=run.unreadable,
    )
    return Outcome(reports, run, dataset, source, tuple(estimator.engine.metadata.categories))


def _open_estimator(request: EvaluationRequest) -> PoseEstimator:
    path = Path(request.model)
    if not path.exists():
        try:
            path = share_path("models", request.model)
        except MkposeError as error:
            raise ModelError(
                f"model {request.model!r} is neither a path nor a shipped size; expected small, base, or a folder or "
                "file that `mkpose export` wrote"
            ) from error
    return PoseEstimator(open_engine(path, request.engine), load_text_features(), unknown_category="skip")


def _segmenter_if_needed(dataset: Dataset, masks: Masks):
    """A segmenter for predicted masks, unless the data set brings published detections."""
    if masks is Masks.GT or dataset.frames[0].companions().get("segmentation_results"):
        return None
    return open_segmenter("auto")


def _open_data(request: EvaluationRequest, progress: Progress) -> Dataset:
    if request.data is not None:
        return open_dataset(request.data, request.split)
    frames = request.limit or DEFAULT_FRAMES
    return synthetic_dataset(
        request.split, request.seed, frames, progress=lambda done, total: progress("rendering", done, total)
    )
