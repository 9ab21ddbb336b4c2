"""One run of two ranks, one of which is killed again and again as soon as the run trains: do the others grow with it?"""

import os
import signal

from harness.figures import Row
from recovery import nets
from recovery.report import Line
from recovery.sides import Lockstep
from soak import agents, descriptors, memory_mb

# Rank 0 lives through all of it.
VICTIM, SURVIVOR = 1, 0
SAMPLES_EVERY = 100
PATIENCE = 60.0
# Steps that nobody had done before, between two kills. Progress is what a run's budget of failures asks for.
BETWEEN = 3
# What is logged waits in the leader's memory to be written: with each step logged, 48 MB within minutes, also where nothing is
# killed.
LOGGED = "20 steps"
# A first kill makes what later ones find there.
WARM = 5


def measure(bench):
    samples, took = [], []
    with Lockstep(bench, nets.mlp(bench, [128]), 2, log_every=LOGGED) as run:
        run.trains(50)
        survivor = run.ranks()[SURVIVOR]
        keepers = {f"agent {node}": pid for node, pid in sorted(agents(run.pid).items())} | {"launcher": run.pid}
        watched = {f"rank {SURVIVOR}, which survives": survivor} | keepers
        for killed in range(bench.faults + 1):
            if killed in (0, WARM, bench.faults) or killed % SAMPLES_EVERY == 0:
                samples.append((killed, {who: uses(pid) for who, pid in watched.items()}))
                bench.say(f"  {killed} killed: " + "; ".join(
                    f"{who} {mb:.1f} MB, {threads} threads, {fds} fds" for who, (mb, threads, fds) in samples[-1][1].items()))
            if killed < bench.faults:
                took.append(run.strike([VICTIM], signal.SIGKILL, PATIENCE).all)
                run.trains(BETWEEN, PATIENCE)
                if run.ranks()[SURVIVOR] != survivor:
                    raise run.failure(f"rank {SURVIVOR} has another process after {killed + 1} kills of rank {VICTIM}")
        generation = run.generation
        run.end()
    return Row("growth", lines(samples, took), values(samples, took), [
        f"{bench.faults} kills of rank {VICTIM}, each at least 0.6 s after the one before was got over; {generation} generations. MB of RSS, "
        f"threads, descriptors. A line of the log for {LOGGED}"
    ])


def uses(pid):
    """MB, threads and descriptors of a process."""
    return memory_mb(pid), len(os.listdir(f"/proc/{pid}/task")), descriptors(pid)


def lines(samples, took):
    found = []
    for who in samples[0][1]:
        shown = ", ".join("{:.1f} MB {} thr. {} fds after {}".format(*of[who], killed) for killed, of in samples)
        found.append(Line(f"growth: {who}", {"Lockstep": shown}))
    tenth = max(1, len(took) // 10)
    first, last = (sum(part) / len(part) for part in (took[:tenth], took[-tenth:]))
    found.append(Line(f"growth: kill → next step, mean of the first and of the last {tenth}", {"Lockstep": f"{first:.2f} s, {last:.2f} s"}))
    return found


def values(samples, took):
    found = {"killed": [float(killed) for killed, _ in samples], "kill → next step": took}
    for who in samples[0][1]:
        for at, unit in enumerate(("MB", "threads", "fds")):
            found[f"{who}, {unit}"] = [float(of[who][at]) for _, of in samples]
    return found
