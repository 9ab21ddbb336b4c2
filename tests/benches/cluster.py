#!/usr/bin/env python3
"""Measures Lockstep on a Kubernetes cluster against Kubeflow Trainer with JobSet; see README.md beside this file.

`make bench-cluster` starts a cluster of its own, installs the peers there, and sets the environment."""

import argparse
import json
import os
import signal
import sys

from harness import command, machine, report
from harness.children import Failed
from harness.cluster import TESTS, Cluster
from harness.command import say
from rows.on_cluster import ALL


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.options(parser, ALL)
    parser.add_argument("--watch", type=float, default=600, metavar="SECONDS",
                        help="how long commands watch whose memory and requests are measured (default 600)")
    return command.parse(parser, ALL)


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
    typed = f"tests/cluster/bench.sh --n {args.n} --rows {','.join(args.rows)} --watch {args.watch:.0f}"
    try:
        cluster = Cluster(args.bin, os.environ.get("LOCKSTEP_PYTHON", sys.executable), args.n, args.watch, say)
        known = facts(cluster)
        rows = command.measure(ALL, args.rows, cluster, args.patience)
    except Failed as failed:
        sys.exit(f"error: {failed}")
    page = report.page(typed, known, rows, "Kubeflow Trainer")
    print(page)
    name = "cluster" if args.rows == list(ALL) else f"cluster-{'-'.join(args.rows)}"
    command.write(args.output, name, page, typed, known, rows)


if __name__ == "__main__":
    main()
