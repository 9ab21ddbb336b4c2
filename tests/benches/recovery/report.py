"""Figures of three sides, as a table for people; the JSON is the harness's."""

import math
from dataclasses import dataclass
from statistics import median

from harness.report import NOISY

SIDES = ("Lockstep", "torchrun", "torchft")


@dataclass
class Line:
    """One line of the table: what was measured, and what each side gave."""

    what: str
    cells: dict[str, str]


def p99(values):
    """The least value that 99 of 100 don't pass; of fewer than 100 the greatest."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def spread(values, unit="s", digits=2):
    """`0.28 [0.27..0.31], p99 0.31 s (n=3)`"""
    if not values:
        return "none"
    shown = f"{median(values):.{digits}f} [{min(values):.{digits}f}..{max(values):.{digits}f}]"
    return f"{shown}, p99 {p99(values):.{digits}f} {unit} (n={len(values)})"


def table(rows):
    lines = [f"| what | {' | '.join(SIDES)} |", "|---" * (len(SIDES) + 1) + "|"]
    for line in (line for row in rows for line in row.claims):
        lines.append(f"| {line.what} | {' | '.join(line.cells.get(side, '') for side in SIDES)} |")
    return lines


def page(command, facts, rows):
    lines = ["# Recovery", "", f"`{command}`", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    if (most := max(row.busy for row in rows)) > NOISY:
        lines += ["", f"**The machine was not quiet: other work used up to {most:.0%} of the cores. Take the times again.**"]
    lines += ["", "All sides in one run, in turns; median [least..greatest], 99th percentile, number of samples.", ""]
    lines += [*table(rows), "", "## Notes", ""]
    for row in rows:
        busy = f"Right before, other work used {row.busy:.0%} of the cores"
        lines += [f"- **{row.name}**: {'. '.join([*row.notes, busy])}."]
    return "\n".join(lines) + "\n"
