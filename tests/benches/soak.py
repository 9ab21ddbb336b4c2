#!/usr/bin/env python3
"""Trains for a million steps and logs each of them, while a process is killed again and again: what launcher, agents, workers
and the run's folder need must not grow with it. Writes a page to results/ and ends with 1 where a bound was passed."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import machine, proc
from harness.children import Child, Failed
from harness.command import RESULTS, say

JOB = Path(__file__).resolve().parent / "digits.yaml"
# Who is killed in turn: a worker by rank, an agent by node. An agent takes its workers along.
VICTIMS = [("worker", 0), ("worker", 1), ("worker", 0), ("agent", 1), ("worker", 1), ("worker", 0), ("worker", 1), ("agent", 0)]
SAMPLES = 40
# Nothing between two steps takes longer.
STALL = 300.0
# What the second half of a run may need beyond the first.
MORE_MB, MORE_SHARE, MORE_FDS = 8.0, 1.25, 8
# Objects beyond one for each generation: checkpoints, segments of the last hour, records of the run.
MORE_OBJECTS = 300


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, default=Path("target/release"), help="folder of the programs")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the page goes")
    return parser.parse_args()


def job(args):
    sets = {
        "name": "soak",
        "train.steps": args.steps,
        "train.globalBatch": 2,
        "model.hidden": "[4]",
        "log.every": "1 steps",
        "checkpoint.every": f"{max(1, args.steps // args.faults // 4)} steps",
    }
    return [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]


def memory_mb(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def descriptors(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def folder(run):
    """Objects and MB of the run's folder."""
    sizes = []
    for path, _, files in os.walk(run):
        for file in files:
            try:
                sizes.append(os.stat(os.path.join(path, file)).st_size)
            except FileNotFoundError:
                pass
    return len(sizes), sum(sizes) / 1e6


def agents(launcher):
    """Process ids of a local launch's agents, by node; none where one is just starting."""
    names = {pid: proc.name(pid) for pid in proc.descendants(launcher)}
    found = {}
    for pid in (pid for pid, name in names.items() if name == "lockstep-agent"):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "--node" in words and "tether" not in words:
            found[int(words[words.index("--node") + 1])] = pid
    return found


class Soak:
    def __init__(self, args, place):
        self.args, self.run, self.samples, self.killed = args, place / "soak", [], 0
        command = [args.bin / "lockstep", "launch", "-f", JOB, "--local", "--run-dir", self.run, *job(args)]
        self.launch = Child(command, {"LOCKSTEP_CACHE": str(place / "cache"), "NO_COLOR": "1"})

    def sample(self, step):
        of = {"launcher": self.launch.pid}
        of |= {f"agent {node}": pid for node, pid in agents(self.launch.pid).items()}
        of |= {f"rank {rank}": pid for rank, pid in enumerate(self.launch.ranks())}
        objects, size = folder(self.run)
        uses = {who: (memory_mb(pid), descriptors(pid)) for who, pid in of.items()}
        self.samples.append({"step": step, "objects": objects, "folder_mb": size, "uses": uses})
        say(f"step {step}: {self.killed} killed, {objects} objects, {size:.0f} MB; " + ", ".join(
            f"{who} {mb:.0f} MB {fds} fds" for who, (mb, fds) in uses.items()))

    def kill(self):
        kind, which = VICTIMS[self.killed % len(VICTIMS)]
        victims = dict(enumerate(self.launch.ranks())) if kind == "worker" else agents(self.launch.pid)
        if (pid := victims.get(which)) is None:
            return False
        proc.send(pid, signal.SIGKILL)
        self.killed += 1
        return True

    def steps(self):
        """Each step as it is told, also those that are repeated."""
        while True:
            yield int(self.launch.wait_for(r"^\s*step (\d+)/", STALL)[1][1])

    def go(self):
        args, since = self.args, time.monotonic()
        next_sample, next_kill, furthest = 0, args.steps // (args.faults + 1), 0
        for step in self.steps():
            furthest = max(furthest, step)
            if furthest >= next_sample:
                self.sample(furthest)
                next_sample += args.steps // SAMPLES
            # Only ever one that gets on: the next is due so many steps after this one.
            if self.killed < args.faults and furthest >= next_kill and step == furthest and self.kill():
                next_kill = (self.killed + 1) * args.steps // (args.faults + 1)
            if furthest >= args.steps:
                break
        self.launch.finish(STALL)
        return time.monotonic() - since


def growth(samples):
    """For each process and for the folder: the most of the first and of the second half, and whether that is within the bound."""
    half = len(samples) // 2
    # The first sample is of processes that have only begun.
    first, second = samples[1:half], samples[half:]
    rows = []
    for who in sorted({who for sample in samples for who in sample["uses"]}):
        for unit, at, bound in (("MB", 0, lambda m: m * MORE_SHARE + MORE_MB), ("fds", 1, lambda m: m + MORE_FDS)):
            before, after = (max((s["uses"][who][at] for s in part if who in s["uses"]), default=0) for part in (first, second))
            rows.append((f"{who}, {unit}", before, after, bound(before), after <= bound(before)))
    return rows


def page(args, facts, seconds, samples, status, asked, rows):
    last = samples[-1]
    lines = ["# Soak", "", f"`tests/benches/soak.py --steps {args.steps} --faults {args.faults}`", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += [
        "",
        f"{args.steps} steps, each of them logged, in {seconds:.0f} s; {status['restarts']} generations after the first. The run's"
        f" folder ended with {last['objects']} objects and {last['folder_mb']:.0f} MB; `lockstep status` took {asked:.2f} s.",
        "",
        "| what | most, first half | most, second half | bound | |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {w} | {b:.1f} | {a:.1f} | {m:.1f} | {'held' if ok else '**passed**'} |" for w, b, a, m, ok in rows]
    return "\n".join(lines) + "\n"


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lockstep = args.bin / "lockstep"
    with tempfile.TemporaryDirectory(prefix="lockstep-soak-") as place:
        soak = Soak(args, Path(place))
        with soak.launch:
            try:
                seconds = soak.go()
            except Failed as failed:
                sys.exit(f"error: {failed}")
        since = time.monotonic()
        told = subprocess.run([lockstep, "status", soak.run, "-o", "json"], capture_output=True, timeout=60, check=True)
        asked = time.monotonic() - since
        status = json.loads(told.stdout)
        status = status[0] if isinstance(status, list) else status
        objects, size = folder(soak.run)
        soak.samples.append({"step": args.steps, "objects": objects, "folder_mb": size, "uses": {}})
    rows = growth(soak.samples)
    bound = status["restarts"] + MORE_OBJECTS
    rows.append(("objects in the run's folder", soak.samples[len(soak.samples) // 2]["objects"], objects, bound, objects <= bound))
    rows.append(("generations that a fault made", args.faults, status["restarts"], args.faults * 1.5,
                 args.faults <= status["restarts"] <= args.faults * 1.5))
    rows.append(("steps", args.steps, status["step"], args.steps, status["step"] == args.steps and status["phase"] == "done"))
    facts = {
        "machine": machine.of_machine(),
        "lockstep": machine.of_lockstep(args.bin),
    }
    text = page(args, facts, seconds, soak.samples, status, asked, rows)
    print(text)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / f"{time.strftime('%Y-%m-%d')}-soak.md").write_text(text)
    sys.exit(0 if all(row[4] for row in rows) else 1)


if __name__ == "__main__":
    main()
