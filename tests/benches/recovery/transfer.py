"""How long a newcomer takes to get a large state: from a survivor's memory, and from a checkpoint in an S3 store on this machine."""

import math
import signal
import time

from harness.figures import Row
from recovery import nets, store, written
from recovery.report import Line, spread
from recovery.sides import Lockstep

# Parameters and both moments of AdamW, 4 bytes each.
BYTES = 12
RANKS = 2
PATIENCE = 300.0
BUDGETS = {"recovery_stepBudget": "1m", "recovery_firstStepBudget": "5m"}


def measure(bench):
    lines, values = [], {}
    for size in bench.sizes:
        net = of_size(bench, size)
        with store.s3() as bucket:
            found, step = sampled(bench, net, f"{bucket}/of-{size}")
        state = f"state of {size} MB ({net.what})"
        for key, what in (("there", "newcomers there → first new step"), ("kill", "kill → first new step")):
            cell = "; ".join(f"{source} {spread(found[source][key])}" for source in ("memory", "checkpoint"))
            lines.append(Line(f"{state}: {what}, state from a survivor's memory, and from the store", {"Lockstep": cell}))
        lines.append(Line(f"{state}: an ordinary step", {"Lockstep": spread(step)}))
        values |= {f"{size} MB, {source}, {key}": times for source, of in found.items() for key, times in of.items()}
        values[f"{size} MB, step"] = step
    return Row("transfer", lines, values, [
        f"{RANKS} ranks. From memory: one of them is killed. From the store: both are, at once, so both read the checkpoint. The first "
        "step and the building of the model with its initial weights are in all times. The store is SeaweedFS on this machine, which "
        "keeps its files in memory"
    ])


def of_size(bench, megabytes):
    """A perceptron with two equal hidden layers whose parameters and moments take so much."""
    wanted = megabytes * 1e6 / BYTES
    # 64 inputs and 10 outputs: h² + (64 + 1 + 1 + 10) h + 10 parameters.
    width = round((-76 + math.sqrt(76**2 + 4 * (wanted - 10))) / 2)
    return nets.mlp(bench, [width, width], batch=2 * RANKS, name=f"{megabytes} MB")


def sampled(bench, net, run_dir):
    """Seconds of each sample from either source, and of the steps between."""
    # One checkpoint, at the end of a launch of its own, so that no other is written while times are taken.
    with Lockstep(bench, net, RANKS, run_dir, train_steps=2, **BUDGETS) as first:
        first.finish(PATIENCE)
    faults, steps = [], []
    with Lockstep(bench, net, RANKS, run_dir, log_level="debug", **BUDGETS) as run:
        for _ in range(bench.n):
            for source, victims in (("memory", [1]), ("checkpoint", range(RANKS))):
                begin = len(run.history)
                run.trains(3, PATIENCE)
                between = run.history[begin:]
                steps += [b.at - a.at for a, b in zip(between, between[1:])]
                took = run.strike(victims, signal.SIGKILL, PATIENCE).all
                faults.append((source, took, run.history[-1].at - time.monotonic() + time.time(), run.generation))
                bench.say(f"  {net.name}, from {source}: {took:.2f} s after the kill")
        run.end(PATIENCE)
    there, found = written.newcomers(bench, run), {source: {"kill": [], "there": []} for source in ("memory", "checkpoint")}
    for source, took, at, generation in faults:
        found[source]["kill"].append(took)
        if generation in there:
            found[source]["there"].append(at - there[generation])
    return found, steps
