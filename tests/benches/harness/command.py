"""What the benchmarks' two commands have in common: their options, their rows, what they write."""

import sys
import time
from pathlib import Path

from harness import machine, report

RESULTS = Path(__file__).resolve().parents[1] / "results"


def options(parser, rows, usual=None):
    """`usual` are the rows that are measured unless others are named; all where it is none."""
    parser.add_argument("--bin", type=Path, default=Path("target/release"), help="folder of the programs")
    parser.add_argument("--n", type=int, default=5, help="samples of each side (default 5)")
    usual = list(usual or rows)
    told = "all" if usual == list(rows) else ",".join(usual)
    parser.add_argument("--rows", default=",".join(usual), help=f"which of {','.join(rows)} (default {told})")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait before a row for a quiet machine")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the results go")


def parse(parser, rows):
    args = parser.parse_args()
    args.rows = args.rows.split(",")
    if unknown := set(args.rows) - set(rows):
        parser.error(f"no row named {', '.join(sorted(unknown))}; there are {', '.join(rows)}")
    return args


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure(rows, names, place, patience):
    """Each row of `names` at `place`, after the machine has become quiet."""
    measured = []
    for name in names:
        busy = machine.settle(patience)
        say(f"{name} (others use {busy:.0%} of the cores)")
        row = rows[name].measure(place)
        row.busy = busy
        measured.append(row)
    return measured


def write(folder, name, page, command, facts, rows):
    """The page, and the same as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{time.strftime('%Y-%m-%d')}-{name}"
    stem.with_suffix(".md").write_text(page)
    stem.with_suffix(".json").write_text(report.data(command, facts, rows))
    say(f"written: {stem}.md and .json")
