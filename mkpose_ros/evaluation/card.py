"""The section of a model card that `mkpose eval --card` writes, so that one command makes and checks its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mkpose_ros.categories import NOCS_CATEGORIES
from mkpose_ros.errors import InputError
from mkpose_ros.evaluation.evaluator import Report
from mkpose_ros.evaluation.protocol import Mode
from mkpose_ros.evaluation.report import Source

__all__ = ["END", "START", "card_section", "category_groups", "put_section"]

START, END = "<!-- mkpose eval -->", "<!-- /mkpose eval -->"
_COLUMNS = ("iou25", "iou50", "iou75", "5d2cm", "5d5cm", "10d2cm", "10d5cm")


def category_groups(categories: Sequence[str], trained: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Which categories a row's mean is over; groups without a category are left out."""
    groups = {
        "trained categories": [c for c in categories if c in trained],
        "the six of NOCS": [c for c in categories if c in NOCS_CATEGORIES],
        "zero-shot: never trained on": [c for c in categories if c not in trained],
    }
    return {f"{name} ({len(members)})": tuple(members) for name, members in groups.items() if members}


def card_section(reports: Sequence[Report], trained: Sequence[str], source: Source, command: str) -> str:
    """Markdown of an evaluation: means by group, in the exact and the published overlap, categories, coverage.

    ``trained``: the categories that the model was trained on. ``reports`` hold the exact and the nocs mode.
    """
    by_mode = {report.mode: report for report in reports}
    exact, published = by_mode[Mode.EXACT], by_mode[Mode.NOCS]
    groups = category_groups(exact.protocol.categories, trained)
    rows = [_row(name, exact, members) for name, members in groups.items()]
    rows += [_row(f"{name}, published IoU", published, members, medians=False) for name, members in groups.items()]
    rows += [_row(name, exact, (name,)) for name in exact.protocol.categories]
    head = ["", "objects", *_COLUMNS, "median deg", "median cm"]
    covered = exact.statistics.summary()
    lines = [
        START,
        "## Test split: real meshes that training never saw\n",
        f"`{command}`: {source.data}; {exact.images} images, masks: {source.masks}, model {source.model}. Average "
        "precision in percent, exact oriented IoU unless a row says otherwise; rows of several categories are means "
        "over them.\n",
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        f"Of these poses {_number(covered['covered_50_percent'])} % lie within the 50 % region of their covariance and "
        f"{_number(covered['covered_90_percent'])} % within the 90 % region (all six axes together, read as a "
        "Gaussian).",
        END,
    ]
    return "\n".join(lines)


def put_section(path: Path, section: str) -> None:
    """Replace the part of a page that has the section's first and last line, or put it before the notes or at the end.

    Raises InputError for a page that is not there.
    """
    start, *_, end = section.splitlines()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error}; expected a page to write into, such as a model's README.md") from error
    if start in text and end in text:
        before, rest = text.split(start, 1)
        text = before + section + rest.split(end, 1)[1]
    elif "<!-- notes -->" in text:
        text = text.replace("<!-- notes -->", f"{section}\n\n<!-- notes -->", 1)
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    path.write_text(text, encoding="utf-8")


def _row(name: str, report: Report, members: Sequence[str], *, medians: bool = True) -> list[str]:
    index = [report.protocol.categories.index(member) for member in members]
    pairs = [p for p in report.statistics.pairs if p.truth.category in members] if medians else []
    values: list[float | None] = [float(np.mean(report.ap[column][index])) for column in _COLUMNS]
    for errors in ([p.degrees for p in pairs], [p.centimetres for p in pairs]):
        values.append(float(np.median(errors)) if errors else None)
    return [name, str(int(report.instances[index].sum())), *map(_number, values)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
