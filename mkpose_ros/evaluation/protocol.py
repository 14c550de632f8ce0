"""The rules of a benchmark: its classes, which of them turn freely about y, and its thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from mkpose_ros.categories import HOUSECAT6D_CATEGORIES, NOCS_CATEGORIES, load_categories
from mkpose_ros.errors import InputError
from mkpose_ros.types import ObjectTruth

__all__ = ["HOUSECAT6D", "NOCS", "Mode", "Protocol", "protocol_for"]


class Mode(str, Enum):
    """Which overlap of boxes is measured, and with whose rules.

    `nocs`: the field's published evaluator with its faults; the minimum and maximum run over the wrong array axis.
    `corners`: the same evaluator on axis-aligned boxes around the eight corners (CATRE).
    `exact`: oriented boxes, proper angles, ties and symmetries.
    """

    NOCS = "nocs"
    CORNERS = "corners"
    EXACT = "exact"

    @classmethod
    def parse(cls, name: str | Mode) -> Mode:
        """The mode of that name. Raises InputError that lists the modes."""
        try:
            return cls(name)
        except ValueError as error:
            raise InputError(f"mode {name!r}; expected one of {', '.join(m.value for m in cls)}") from error


@dataclass(frozen=True)
class Protocol:
    """A benchmark's classes and thresholds. Absent classes count with AP 0 in the mean."""

    name: str
    categories: tuple[str, ...]
    symmetric: frozenset[str]  # about y, for the modes nocs and corners; exact asks each ObjectTruth
    handle_category: str | None  # counts as symmetric where its handle is hidden
    iou_thresholds: tuple[float, ...] = (0.25, 0.50, 0.75)
    pose_thresholds: tuple[tuple[float, float], ...] = ((5, 2), (5, 5), (10, 2), (10, 5))  # degrees, cm
    match_iou: float = 0.1  # pose AP looks only at pairs that overlap more than this

    def is_symmetric(self, truth: ObjectTruth) -> bool:
        """Whether the benchmark ignores the turn of this object about its y axis."""
        hidden = truth.category == self.handle_category and not truth.handle_visible
        return truth.category in self.symmetric or hidden


NOCS = Protocol("nocs", NOCS_CATEGORIES, frozenset({"bottle", "bowl", "can"}), "mug")
HOUSECAT6D = Protocol("housecat6d", HOUSECAT6D_CATEGORIES, frozenset({"bottle", "bowl", "can", "glass"}), None)


def protocol_for(categories: Sequence[str]) -> Protocol:
    """The benchmark with these categories; for others, NOCS's rules with the symmetries of config/categories.yaml."""
    for protocol in (NOCS, HOUSECAT6D):
        if set(categories) == set(protocol.categories):
            return protocol
    known = load_categories()
    symmetric = {name for name in categories if name in known and "y" in known[name].symmetry.infinite_axes}
    return Protocol("own", tuple(categories), frozenset(symmetric), "mug")
