"""The field's evaluation protocol, to the letter and also done right."""

from mkpose_ros.evaluation.evaluator import Curves, Report, average_precision_curves, evaluate
from mkpose_ros.evaluation.protocol import HOUSECAT6D, NOCS, Mode, Protocol, protocol_for

__all__ = [
    "HOUSECAT6D",
    "NOCS",
    "Curves",
    "Mode",
    "Protocol",
    "Report",
    "average_precision_curves",
    "evaluate",
    "protocol_for",
]
