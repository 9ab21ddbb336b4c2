#!/usr/bin/env python3
"""Measures Lockstep against PyTorch's DDP and torchrun on this machine; see README.md beside this file."""

import argparse
import os
import signal
import sys

from harness import command, machine, report
from harness.children import Failed
from harness.command import say
from harness.sides import Bench
from rows import ALL


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    command.options(parser, ALL)
    parser.add_argument("--quick", action="store_true", help="a smoke test: one sample, shorter waits, nothing written")
    return command.parse(parser, ALL)


def main():
    args = arguments()
    # So that every `with` block ends its children.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    python = os.environ.get("LOCKSTEP_PYTHON", sys.executable)
    typed = f"tests/benches/run.py --n {args.n} --rows {','.join(args.rows)} --patience {args.patience:.0f}"
    bench = Bench(args.bin, python, 1 if args.quick else args.n, args.quick, say)
    try:
        facts = machine.facts(bench)
        rows = command.measure(ALL, args.rows, bench, 0 if args.quick else args.patience)
    except Failed as failed:
        sys.exit(f"error: {failed}")
    finally:
        bench.close()
    print("\n".join(report.table(rows)))
    if not args.quick:
        name = "all" if args.rows == list(ALL) else "-".join(args.rows)
        command.write(args.output, name, report.page(typed, facts, rows), typed, facts, rows)


if __name__ == "__main__":
    main()
