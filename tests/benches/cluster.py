#!/usr/bin/env python3
"""Measures runs on a real cluster: from the command to the first step, and from a fault to the next step.

`make bench-cluster` starts a cluster of its own for it and sets the environment. Times are taken outside, when a line arrives
on the pipe that a user would read."""

import argparse
import json
import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from harness import machine

HERE = Path(__file__).resolve().parent
LAUNCHED = re.compile(r"first step ([0-9.]+) s after launch")
DEADLINE = 120

BARE = """
apiVersion: batch/v1
kind: Job
metadata: {name: NAME}
spec:
  completions: 2
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      containers:
      - {name: agent, image: 'lockstep:test', imagePullPolicy: Never, command: [lockstep-agent, --help]}
"""


class Launch:
    """A `lockstep launch` whose lines are kept with their times."""

    def __init__(self, binaries, name, *more):
        job = HERE.parent.parent / "trainer/examples/digits-cluster.yaml"
        sets = [f"name={name}", f"storage=s3://lockstep/{name}", "eval.every=1000000steps", *more]
        command = [binaries / "lockstep", "launch", "-f", job]
        for item in sets:
            command += ["--set", item]
        self.name, self.began, self.lines, self.news = name, time.monotonic(), [], queue.Queue()
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stderr:
            self.news.put((time.monotonic(), line.rstrip()))
        self.news.put((time.monotonic(), None))

    def wait_for(self, what, after=0.0):
        """When the first line came that has `what` and came after `after`."""
        until = time.monotonic() + DEADLINE
        seen = [entry for entry in self.lines if entry[0] > after and what(entry[1])]
        while not seen:
            try:
                at, line = self.news.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise SystemExit(f"error: {self.name}: no such line in {DEADLINE} s; the last ones: {self.lines[-5:]}")
            if line is None:
                raise SystemExit(f"error: {self.name} ended early: {self.lines[-5:]}")
            self.lines.append((at, line))
            if at > after and what(line):
                seen = [(at, line)]
        return seen[0]

    def end(self, binaries):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(timeout=DEADLINE)
        subprocess.run([binaries / "lockstep", "delete", self.name], check=True, stdout=subprocess.DEVNULL)


def kubectl(*words, text=None):
    program = Path(os.environ["LOCKSTEP_CLUSTER_PARTS"]) / "kubectl"
    done = subprocess.run([program, *words], input=text, capture_output=True, text=True, timeout=DEADLINE)
    if done.returncode:
        raise SystemExit(f"error: kubectl {' '.join(words)}: {done.stderr}")
    return done.stdout


def machine_cpu():
    """CPU-seconds that the whole machine has used."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, softirq, *_ = fields
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def bare(count):
    """From `kubectl create` of an Indexed Job of the same image to both its pods running."""
    name = f"bare-{count}"
    program = Path(os.environ["LOCKSTEP_CLUSTER_PARTS"]) / "kubectl"
    watch = subprocess.Popen(
        [program, "get", "pods", "-l", f"job-name={name}", "--watch", "--no-headers", "-o",
         "custom-columns=:metadata.name,:status.phase"],
        stdout=subprocess.PIPE, text=True)
    time.sleep(1.0)  # until the watch is on its way; not measured
    began, started = time.monotonic(), set()
    kubectl("create", "-f", "-", text=BARE.replace("NAME", name))
    try:
        for line in watch.stdout:
            pod, phase, *_ = line.split()
            # A container that ran and ended so soon that nobody saw it run has started too.
            if phase in ("Running", "Succeeded", "Failed"):
                started.add(pod)
            if len(started) == 2:
                return time.monotonic() - began
            if time.monotonic() - began > DEADLINE:
                break
    finally:
        watch.kill()
        watch.wait()
        kubectl("delete", "job", name)
    raise SystemExit("error: the bare Job's pods did not start")


def start(binaries, count):
    """Launch to first step: as the user waits for it, and what the machine spends on it."""
    cpu = machine_cpu()
    run = Launch(binaries, f"start-{count}", "train.steps=200000", "log.every=100000steps")
    at, line = run.wait_for(lambda line: LAUNCHED.search(line))
    spent = machine_cpu() - cpu
    run.end(binaries)
    return at - run.began, spent


def workers(name):
    """Process ids of a run's workers by node, as this machine knows them."""
    pods = json.loads(kubectl("get", "pods", "-l", f"batch.kubernetes.io/job-name={name}", "-o", "json"))["items"]
    uids = {pod["metadata"]["uid"]: int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]) for pod in pods}
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")[0]
            if not command.endswith(b"/lockstep-worker"):
                continue
            group = (entry / "cgroup").read_text()
        except (OSError, ValueError):
            continue
        for uid, node in uids.items():
            if uid in group or uid.replace("-", "_") in group:
                found[node] = int(entry.name)
    return found


def next_step(run, since):
    formed, _ = run.wait_for(lambda line: line.startswith("  formed"), since)
    at, _ = run.wait_for(lambda line: line.startswith("  step "), formed)
    return at - since


def faults(binaries, count):
    """From a fault to the next reported step, each kind after the other in one run."""
    run = Launch(binaries, f"faults-{count}", "train.steps=10000000", "log.every=10steps", "checkpoint.every=500steps")
    first, _ = run.wait_for(lambda line: LAUNCHED.search(line))
    run.wait_for(lambda line: "checkpoint 500" in line or "checkpoint 1000" in line, first)
    took = {}
    for kind in ("killed first", "killed second", "killed third"):
        pid = workers(run.name)[1]
        since = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        took[kind] = next_step(run, since)
        time.sleep(1.0)
    pid = workers(run.name)[1]
    since = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    took["stopped"] = next_step(run, since)
    for node in (1, 0):
        pod = kubectl("get", "pods", "-l", f"batch.kubernetes.io/job-name={run.name},batch.kubernetes.io/job-completion-index={node}",
                      "--field-selector=status.phase=Running", "-o", "jsonpath={.items[0].metadata.name}")
        since = time.monotonic()
        kubectl("delete", "pod", pod, "--wait=false")
        took[f"pod {node} deleted"] = next_step(run, since)
    run.end(binaries)
    return took


def spread(values):
    return f"{statistics.median(values):.2f} [{min(values):.2f}..{max(values):.2f}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, default=Path("target/release"), help="folder of the programs")
    parser.add_argument("--n", type=int, default=5, help="samples of each row (default 5)")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="where the results go")
    args = parser.parse_args()
    args.bin = args.bin.resolve()
    busy = machine.settle(60)
    bares, starts, costs, struck = [], [], [], {}
    for count in range(args.n):
        bares.append(bare(count))
        wall, cpu = start(args.bin, count)
        starts.append(wall)
        costs.append(cpu)
        for kind, took in faults(args.bin, count).items():
            struck.setdefault(kind, []).append(took)
        print(f"round {count + 1} of {args.n} done", file=sys.stderr, flush=True)
    version = json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    lines = [
        "# Figures on a cluster", "", f"`make bench-cluster`, --n {args.n}", "",
        f"- machine: {machine.cpu()}; before the first round other work used {busy:.0%} of the cores",
        f"- lockstep: {machine.output(args.bin / 'lockstep', '--version')}, git {machine.output('git', 'describe', '--always', '--dirty', '--abbrev=12', cwd=HERE)}",
        f"- cluster: Kubernetes {version}, two nodes and all servers on this machine (tests/cluster), image present",
        "", "All rows in one run, in turns; median [least..greatest].", "",
        "| from | to | seconds |", "|---|---|---|",
        f"| create of a bare Indexed Job of the same image | its 2 pods started | {spread(bares)} |",
        f"| `lockstep launch` of digits, 2 nodes | first step | {spread(starts)} |",
        f"| the same, CPU-seconds of the whole machine | | {spread(costs)} |",
    ]
    lines += [f"| worker {kind} time (SIGKILL) | next step reported | {spread(struck[f'killed {kind}'])} |" for kind in ("first", "second", "third")]
    lines += [f"| worker stopped (SIGSTOP) | next step reported | {spread(struck['stopped'])} |"]
    lines += [f"| pod of index {node} deleted | next step reported | {spread(struck[f'pod {node} deleted'])} |" for node in (0, 1)]
    lines += ["", "After a deletion the Job controller waits 10 s before it makes the next pod.", ""]
    page = "\n".join(lines)
    print(page)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / f"{time.strftime('%Y-%m-%d')}-cluster.md").write_text(page)


if __name__ == "__main__":
    main()
