"""A kill a minute for some minutes, one schedule for all sides: which part of the ranks' time went into steps that count?"""

import random
import signal
import time
from statistics import median

from harness import proc
from harness.figures import Row
from recovery import nets
from recovery.report import Line
from recovery.sides import Lockstep, Torchft, Torchrun

MINUTE = 60.0
# How long a victim may be missing, as its process is just starting.
MISSING = 30.0


def measure(bench):
    net = nets.gpt(bench)
    line, same = nets.equal(bench, net)
    makers = {
        "Lockstep": lambda: Lockstep(bench, net, bench.ranks),
        "torchrun": lambda: Torchrun(bench, net, bench.ranks, bench.every),
        "torchft": lambda: Torchft(bench, net, bench.ranks),
    }
    schedule = plan(bench)
    cells, values = {"goodput": {}, "steps": {}}, {"schedule": [at for at, _ in schedule]}
    for side, make in makers.items():
        with make() as run:
            begin, end, killed = tormented(run, schedule, bench.minutes * MINUTE)
        share, new, again, pace = goodput(run.history, run.world, begin, end)
        cells["goodput"][side] = f"{share:.1%}, {killed} kills"
        cells["steps"][side] = f"{new} new, {again} again, {pace * 1e3:.0f} ms each where nothing happens"
        values |= {f"{side}, goodput": [share], f"{side}, new steps": [float(new)], f"{side}, steps again": [float(again)],
                   f"{side}, seconds of a step": [pace]}
        bench.say(f"  {side}: {cells['goodput'][side]}; {cells['steps'][side]}")
    head = net.what if same else f"{net.what}, **whose losses differ**"
    head = f"{head}, {bench.minutes:g} minutes with a kill in each"
    return Row("goodput", [line, Line(f"{head}: goodput", cells["goodput"]), Line(f"{head}: steps", cells["steps"])], values, [
        f"{bench.ranks} ranks. Goodput is the ranks' time in steps that nobody had done before, divided by all their time since the first "
        "step of all, in seconds of one rank. It is computed alike from the times at which lines of steps arrive; Lockstep logs each step. A "
        "step's time is that since the one before; the first one after a fault counts with the median, and a step of fewer ranks counts for "
        f"those. Torchrun's twin writes a checkpoint every {bench.every} steps, Lockstep and torchft none"
    ])


def plan(bench):
    """One kill in each minute: seconds since the first step, and a rank."""
    chance = random.Random(f"goodput {bench.seed}")
    kills = ((minute * MINUTE + chance.uniform(0, MINUTE), chance.randrange(bench.ranks)) for minute in range(10_000))
    return [next(kills) for _ in range(max(1, round(bench.minutes)))]


def tormented(run, schedule, seconds):
    """Trains so long since the first step of all, kills as planned, and says when it began and ended."""
    begin, killed = run.trains(1).at, 0
    end = begin + seconds
    for at, rank in schedule:
        watch(run, begin + at)
        if begin + at < end and kill(run, rank):
            killed += 1
    watch(run, end)
    return begin, end, killed


def watch(run, until):
    for _ in run.steps(max(0.0, until - time.monotonic())):
        pass


def kill(run, rank):
    """Whether there was somebody to kill, in time."""
    until = time.monotonic() + MISSING
    while time.monotonic() < until:
        if (pid := run.find(rank)) is not None:
            proc.send(pid, signal.SIGKILL)
            return True
        watch(run, time.monotonic() + 0.1)
    return False


def goodput(history, world, begin, end):
    """Share of the ranks' time in steps that were new, how many those were, how many were done again, seconds of a step."""
    steps = [step for step in history if begin <= step.at <= end]
    pairs = list(zip(steps, steps[1:]))
    pace = median(after.at - before.at for before, after in pairs if after.life == before.life)
    furthest, useful, new = steps[0].number, 0.0, 0
    for before, after in pairs:
        if after.number <= furthest:
            continue
        furthest, new = after.number, new + 1
        took = after.at - before.at
        useful += after.ranks / world * (took if after.life == before.life else min(took, pace))
    return useful / (end - begin), new, len(pairs) - new, pace
