#!/usr/bin/env python3
"""Measures how Lockstep, torchrun and torchft get over faults on this machine; see README.md in the folder above."""

import argparse
import os
import signal
import sys
from pathlib import Path

# This folder is a package, whose modules are not to be found by their bare names.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from harness import command, machine  # noqa: E402
from harness.children import Failed  # noqa: E402
from harness.command import say  # noqa: E402
from harness.sides import Bench  # noqa: E402
from recovery import goodput, growth, kill, report, stop, transfer  # noqa: E402

ROWS = {"kill": kill, "stop": stop, "transfer": transfer, "growth": growth, "goodput": goodput}
# Goodput takes as long as all others together.
USUAL = [name for name in ROWS if name != "goodput"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    command.options(parser, ROWS, USUAL)
    parser.set_defaults(n=3)
    parser.add_argument("--ranks", type=int, default=4, help="nodes of one rank each (default 4)")
    parser.add_argument("--kills", type=int, default=3, help="kills in each sample of the row kill (default 3)")
    parser.add_argument("--every", type=int, default=100, help="steps between two checkpoints of torchrun's twin (default 100)")
    parser.add_argument("--watch", type=float, default=30, help="seconds to watch who doesn't go on (default 30)")
    parser.add_argument("--sizes", default="134,1000", help="MB of state of the row transfer (default 134,1000)")
    parser.add_argument("--minutes", type=float, default=5, help="how long each side trains in the row goodput (default 5)")
    parser.add_argument("--faults", type=int, default=200, help="kills of the row growth (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="of who is killed when (default 1)")
    return command.parse(parser, ROWS)


def typed(args):
    words = [f"--{name} {getattr(args, name)}" for name in ("n", "ranks", "kills", "every", "sizes", "minutes", "faults", "seed")]
    return f"tests/benches/recovery/run.py --rows {','.join(args.rows)} {' '.join(words)} --watch {args.watch:.0f} --patience {args.patience:.0f}"


def main():
    args = arguments()
    # So that every `with` block ends its children.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(args.bin, os.environ.get("LOCKSTEP_PYTHON", sys.executable), args.n, False, say)
    bench.torchft = os.environ.get("LOCKSTEP_TORCHFT_PYTHON", bench.python)
    for name in ("ranks", "kills", "every", "watch", "minutes", "faults", "seed"):
        setattr(bench, name, getattr(args, name))
    bench.sizes = [int(size) for size in args.sizes.split(",")]
    try:
        version = machine.output(bench.torchft, "-c", "import importlib.metadata as m; print(m.version('torchft'))")
        facts = machine.facts(bench) | {"torchft": f"torchft {version} on Gloo"}
        rows = command.measure(ROWS, args.rows, bench, args.patience)
    except Failed as failed:
        sys.exit(f"error: {failed}")
    finally:
        bench.close()
    page = report.page(typed(args), facts, rows)
    print(page)
    name = "recovery" if args.rows in (USUAL, list(ROWS)) else f"recovery-{'-'.join(args.rows)}"
    command.write(args.output, name, page, typed(args), facts, rows)


if __name__ == "__main__":
    main()
