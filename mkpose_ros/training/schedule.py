"""Learning rates as plain functions of progress."""

from __future__ import annotations

import math

__all__ = ["SCHEDULES", "cosine", "cyclic"]


def cosine(step: int, *, steps: int, warmup: int, floor: float = 0.01) -> float:
    """The share of the peak rate at `step`: linear warm-up, then half a cosine down to `floor` at `steps`.

    >>> cosine(0, steps=100, warmup=10), cosine(9, steps=100, warmup=10), cosine(100, steps=100, warmup=10)
    (0.1, 1.0, 0.01)
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


def cyclic(step: int, *, steps: int, warmup: int, floor: float = 0.04) -> float:
    """A triangle from `floor` up in `warmup` steps and down in as many, over and over.

    The recipe that the paper builds on is this with warmup 20000 and rates 2e-5 to 5e-4; `steps` plays no part.
    """
    phase = (step % (2 * warmup)) / warmup
    return floor + (1.0 - floor) * (phase if phase <= 1.0 else 2.0 - phase)


SCHEDULES = {"cosine": cosine, "cyclic": cyclic}
