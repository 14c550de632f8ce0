"""Parameters that hold a list in one text, so that a launch file can pass it on."""

from __future__ import annotations

__all__ = ["category_names", "category_thresholds", "check_names", "check_thresholds"]


def category_names(text: str) -> tuple[str, ...]:
    """The names in a comma-separated parameter.

    >>> category_names("mug, bottle,")
    ('mug', 'bottle')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def category_thresholds(text: str) -> dict[str, float]:
    """The scores in a parameter such as "mug:0.5, can:0.4". Raises ValueError.

    >>> category_thresholds("mug:0.5, can:0.4")
    {'mug': 0.5, 'can': 0.4}
    """
    pairs = (entry.split(":") for entry in category_names(text))
    return {name.strip(): float(score) for name, score in pairs}


def check_names(names: str) -> str | None:
    """What is wrong with such names, None: nothing."""
    wrong = [name for name in category_names(names) if not name.replace("_", "").isalnum() or name != name.lower()]
    return f"categories are lower-case names separated by commas; got {', '.join(wrong)}" if wrong else None


def check_thresholds(text: str) -> str | None:
    """What is wrong with the parameter class_thresholds, None: nothing."""
    try:
        valid = text == "calibrated" or all(0.0 <= score <= 1.0 for score in category_thresholds(text).values())
    except ValueError:
        valid = False
    return None if valid else f"expected calibrated, nothing, or category:score, ... with scores 0 to 1; got '{text}'"
