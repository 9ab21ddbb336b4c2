#!/usr/bin/env python3
"""Measures Lockstep on a Kubernetes cluster against Kubeflow Trainer with JobSet; see README.md beside this file.

`make bench-cluster` starts a cluster of its own, installs the peers there, and sets the environment."""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from harness import machine, report
from harness.children import Failed
from harness.cluster import TESTS, Cluster
from rows.on_cluster import ALL

HERE = Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, default=Path("target/release"), help="folder of the programs")
    parser.add_argument("--n", type=int, default=5, help="samples of each side (default 5)")
    parser.add_argument("--rows", default=",".join(ALL), help=f"which of {','.join(ALL)} (default all)")
    parser.add_argument("--watch", type=float, default=600, metavar="SECONDS",
                        help="how long commands watch whose memory and requests are measured (default 600)")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait before a row for a quiet machine")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="where the results go")
    args = parser.parse_args()
    args.rows = args.rows.split(",")
    if unknown := set(args.rows) - set(ALL):
        parser.error(f"no row named {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    return args


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure(cluster, names, patience):
    rows = []
    for name in names:
        busy = machine.settle(patience)
        say(f"{name} (others use {busy:.0%} of the cores)")
        row = ALL[name].measure(cluster)
        row.busy = busy
        rows.append(row)
    return rows


def facts(cluster):
    server = json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    jobset = pinned("jobset", "sigs.k8s.io/jobset")
    trainer = pinned("trainer", "github.com/kubeflow/trainer/v2")
    return machine.facts(cluster) | {
        "cluster": f"Kubernetes {server}, two nodes and all servers on this machine (tests/cluster), images present",
        "theirs": f"Kubeflow Trainer {trainer} with JobSet {jobset}, torchrun, /app/train.py; torch without its CUDA half, "
        "which starts a fifth quicker",
    }


def pinned(folder, module):
    """The version that a peer is built from."""
    for line in (TESTS / "cluster" / "peers" / folder / "go.mod").read_text().splitlines():
        words = line.removeprefix("require").split()
        if words[:1] == [module]:
            return words[1]
    raise Failed(f"{module} is not in tests/cluster/peers/{folder}/go.mod")


def main():
    args = arguments()
    # So that every `with` block ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    command = f"tests/cluster/bench.sh --n {args.n} --rows {','.join(args.rows)} --watch {args.watch:.0f}"
    try:
        cluster = Cluster(args.bin, os.environ.get("LOCKSTEP_PYTHON", sys.executable), args.n, args.watch, say)
        known = facts(cluster)
        rows = measure(cluster, args.rows, args.patience)
    except Failed as failed:
        sys.exit(f"error: {failed}")
    page = report.page(command, known, rows, "Kubeflow Trainer")
    print(page)
    name = "cluster" if args.rows == list(ALL) else f"cluster-{'-'.join(args.rows)}"
    stem = args.output / f"{time.strftime('%Y-%m-%d')}-{name}"
    args.output.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".md").write_text(page)
    stem.with_suffix(".json").write_text(report.data(command, known, rows))
    say(f"written: {stem}.md and .json")


if __name__ == "__main__":
    main()
