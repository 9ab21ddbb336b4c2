#!/usr/bin/env python3
"""Measures Lockstep against PyTorch's DDP and torchrun on this machine; see README.md beside this file."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from harness import machine, report
from harness.children import Failed
from harness.sides import Bench
from rows import ALL

HERE = Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default="target/release", help="folder of lockstep, lockstep-agent, lockstep-worker")
    parser.add_argument("--n", type=int, default=5, help="samples of each side (default 5)")
    parser.add_argument("--quick", action="store_true", help="a smoke test: one sample, shorter waits, nothing written")
    parser.add_argument("--rows", default=",".join(ALL), help=f"which of {','.join(ALL)} (default all)")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait before a row for a quiet machine")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="where the results go")
    args = parser.parse_args()
    args.rows = args.rows.split(",")
    if unknown := set(args.rows) - set(ALL):
        parser.error(f"no row named {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    return args


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure(bench, names, patience):
    rows = []
    for name in names:
        busy = machine.settle(patience)
        say(f"{name} (others use {busy:.0%} of the cores)")
        row = ALL[name].measure(bench)
        row.busy = busy
        rows.append(row)
    return rows


def main():
    args = arguments()
    # So that every `with` block ends its children.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    python = os.environ.get("LOCKSTEP_PYTHON", sys.executable)
    command = f"tests/benches/run.py --n {args.n} --rows {','.join(args.rows)} --patience {args.patience:.0f}"
    bench = Bench(args.bin, python, 1 if args.quick else args.n, args.quick, say)
    try:
        facts = machine.facts(bench)
        rows = measure(bench, args.rows, 0 if args.quick else args.patience)
    except Failed as failed:
        sys.exit(f"error: {failed}")
    finally:
        bench.close()
    print("\n".join(report.table(rows)))
    if not args.quick:
        name = "all" if args.rows == list(ALL) else "-".join(args.rows)
        stem = args.output / f"{time.strftime('%Y-%m-%d')}-{name}"
        args.output.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".md").write_text(report.page(command, facts, rows))
        stem.with_suffix(".json").write_text(report.data(command, facts, rows))
        say(f"written: {stem}.md and .json")


if __name__ == "__main__":
    main()
