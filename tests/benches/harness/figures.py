"""Numbers, what is claimed with them, and whether it holds."""

from dataclasses import dataclass, field
from statistics import median


def spread(values, unit="", digits=2):
    """`0.28 [0.27..0.31] s`"""
    if not values:
        return "none"
    text = f"{median(values):.{digits}f} [{min(values):.{digits}f}..{max(values):.{digits}f}]"
    return f"{text} {unit}".rstrip()


def ratio(theirs, ours):
    return median(theirs) / median(ours)


def texts(values):
    """Values of one sample, for whoever watches."""
    return ", ".join(f"{value:.2f}" for value in values.values()) + " s"


def growth(values, first, last):
    """How much longer the last of several faults takes than the first, on our side and on theirs."""
    return tuple(ratio(values[f"{side} {last}"], values[f"{side} {first}"]) for side in ("ours", "theirs"))


def by_side(ours, theirs):
    """Samples, each a dictionary, as lists of values named `ours KEY` and `theirs KEY`."""
    sides = (("ours", ours), ("theirs", theirs))
    return {f"{side} {key}": [sample[key] for sample in samples] for side, samples in sides for key in samples[0]}


@dataclass
class Claim:
    """One line of the table: what was measured on both sides, what follows, and what it should be."""

    what: str
    ours: str
    theirs: str
    result: str
    reach: str
    met: bool | None
    """None for a line that is information only."""

    @property
    def verdict(self):
        return {True: "met", False: "MISSED", None: ""}[self.met]


@dataclass
class Row:
    """All that one measurement gave."""

    name: str
    claims: list[Claim]
    values: dict[str, list[float]]
    notes: list[str] = field(default_factory=list)
    busy: float = 0.0
    """Share of the cores that was in use by others right before."""
