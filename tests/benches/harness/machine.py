"""What the figures were taken on, and whether it was quiet."""

import os
import platform
import subprocess
import time
from pathlib import Path

from harness import proc

QUIET = 0.05


def settle(patience):
    """Waits, at most `patience` seconds, until others leave the cores alone; the share that they use in the end."""
    until = time.monotonic() + patience
    while (busy := proc.busy(1.0)) > QUIET and time.monotonic() < until:
        time.sleep(1.0)
    return busy


def output(*command, cwd=None):
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def cpu():
    models = [l.split(":", 1)[1].strip() for l in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in l]
    return f"{len(os.sched_getaffinity(0))} cores of {models[0] if models else platform.machine()}"


def of_machine():
    memory = int(next(l for l in Path("/proc/meminfo").read_text().splitlines()).split()[1]) / 1e6
    return f"{cpu()}, {memory:.0f} GB, Linux {platform.release()}"


def of_lockstep(binaries):
    here = Path(__file__).resolve().parent
    commit = output("git", "describe", "--always", "--dirty", "--abbrev=12", cwd=here)
    return f"{output(binaries / 'lockstep', '--version')}, git {commit}"


def facts(bench):
    """Name and value of everything that a reader needs to judge or repeat the figures."""
    torch = output(bench.python, "-c", "import torch; print(torch.__version__)")
    return {
        "machine": of_machine(),
        "lockstep": of_lockstep(bench.binaries),
        "worker": output(bench.binaries / "lockstep-worker", "--version"),
        "rustc": output("rustc", "--version"),
        "peer": f"torch {torch}, {output(bench.python, '--version')}",
        "threads": "OMP_NUM_THREADS=1 for each rank of both sides",
    }
