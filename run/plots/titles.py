"""Titles of figures: what is shown, and what of it is missing."""
from collections.abc import Sequence

SMOKE = 0.02  # a figure of less than this share of the steps is none to conclude anything from


def marked(title: str, lacks: Sequence[str] = (), *shares: float) -> str:
    """The title, and in brackets what the figure lacks; `shares`: of the steps, that its parts have."""
    least = min(shares, default=1)
    lacks = [*lacks, *[f'{"from " * (len(set(shares)) > 1)}{100 * least:.2g}% of the steps'] * (least < 1)]
    return f'{title} ({"smoke scale" if least < SMOKE else "partial"}: {", ".join(lacks)})' if lacks else title


def missing(some: int, of: int, kind: str) -> list[str]:
    """What is missing where there are `some` of so many; nothing where all are there."""
    return [f'{some} of {of} {kind}'] if some < of else []
