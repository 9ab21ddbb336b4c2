"""A worker is killed with SIGKILL, several times in one run: when is the next step done by all, and what is done twice?"""

import random
import signal

from harness.figures import Row
from recovery import nets, written
from recovery.report import SIDES, Line, spread
from recovery.sides import Lockstep, Stuck, Torchft, Torchrun

# New steps between two kills, chosen by chance, the same for all sides.
BETWEEN = (50, 150)
PATIENCE = 90.0
KEYS = ("all", "some", "repeated", "thrown_away")
# Its Lighthouse believes in a silent replica group for 5 s unless it is told otherwise.
TUNED = "torchft, 1 s"
SEEN, THERE, FORMED = "seen → record of the generation", "record → newcomer there", "newcomer there → survivors re-formed"


def measure(bench):
    lines, values = [], {}
    for net in nets.both(bench):
        line, same = nets.equal(bench, net)
        found, inside = {side: [] for side in (*SIDES, TUNED)}, []
        for sample in range(bench.n):
            schedule = plan(bench, sample)
            with Lockstep(bench, net, bench.ranks, log_level="debug") as run:
                found["Lockstep"] += kills(bench, run, schedule)
                run.end()
            inside += parts(bench, run)
            with Torchrun(bench, net, bench.ranks, bench.every) as run:
                found["torchrun"] += kills(bench, run, schedule)
            for side, heartbeat in (("torchft", 5.0), (TUNED, 1.0)):
                with Torchft(bench, net, bench.ranks, heartbeat=heartbeat) as run:
                    found[side] += kills(bench, run, schedule)
        lines += [line, *told(net, found, inside, same)]
        values |= {f"{net.name}, {side}, {key}": [getattr(one, key) for one in ones if one]
                   for side, ones in found.items() for key in KEYS}
        values |= {f"{net.name}, Lockstep, {key}": [one[key] for one in inside] for key in (SEEN, THERE, FORMED)}
    return Row("kill", lines, values, [
        f"{bench.ranks} ranks. The same ranks are killed on all sides, each after {BETWEEN[0]} to {BETWEEN[1]} steps that nobody had "
        "done before. From the signal to the line of the first step that all ranks do, the new process included",
        "Lockstep writes no checkpoints here. Without its checkpoints torchrun's twin would go back to step 0",
        "Torchft has the timeouts of its own example, and a Lighthouse as its README starts it. Its killed process is started anew "
        "at once by a small parent, not by a torchrun that looks ten times a second",
        "Steps done twice are those whose lines come twice. «Thrown away» are steps that survivors computed to the end and dropped, with their samples. What Lockstep breaks off within "
        "a step it does again, on the same samples",
        "The newcomer is there when it logs that it has its orders; survivors have re-formed when rank 0's agent "
        "writes the event `resumed`, after the state was handed on and compared",
    ])


def plan(bench, sample):
    """Ranks to kill, each with the number of new steps before."""
    chance = random.Random(f"{bench.seed} {sample}")
    return [(chance.randrange(bench.ranks), chance.randint(*BETWEEN)) for _ in range(bench.kills)]


def kills(bench, run, schedule):
    """What followed each kill. None where nothing did; the rest of the schedule is left out then."""
    found = []
    for rank, more in schedule:
        run.trains(more)
        try:
            one = run.strike([rank], signal.SIGKILL, PATIENCE)
        except Stuck as stuck:
            bench.say(f"  {stuck}")
            return [*found, None]
        found.append(one)
        bench.say(f"  {type(run).__name__}, rank {rank}: all after {one.all:.2f} s, anybody after {one.some:.2f} s, "
                  f"{one.repeated} repeated, {one.thrown_away} thrown away")
    return found


def parts(bench, run):
    """What the time of each recovery went to, from the times that agents and workers wrote down."""
    events, there = {}, written.newcomers(bench, run)
    for event in bench.lockstep("events", run.run_dir):
        # Of several the first: who is lost first is what ends a generation.
        events.setdefault((event["generation"], event["kind"]), written.moment(event["at"]))
    found = []
    for generation in range(2, run.generation + 1):
        times = [events.get((generation - 1, "lost")), events.get((generation, "formed")), there.get(generation),
                 events.get((generation, "resumed"))]
        if None not in times:
            found.append(dict(zip((SEEN, THERE, FORMED), (b - a for a, b in zip(times, times[1:])))))
    return found


def told(net, found, inside, same):
    def cells(key, **how):
        texts = {side: spread([getattr(one, key) for one in ones if one], **how) + stuck(ones) for side, ones in found.items()}
        tuned = texts.pop(TUNED)
        return texts | {"torchft": f"{texts['torchft']}; with `--heartbeat_timeout_ms 1000` {tuned}"}

    def stuck(ones):
        return f"; {ones.count(None)} did not go on in {PATIENCE:.0f} s" if None in ones else ""

    head = net.what if same else f"{net.what}, **whose losses differ**"
    lines = [
        Line(f"{head}: SIGKILL of a worker → next step of all ranks", cells("all")),
        Line(f"{head}: the same → next step of anybody", cells("some")),
        Line(f"{head}: steps done twice, per kill", cells("repeated", unit="steps", digits=0)),
        Line(f"{head}: steps computed and thrown away, per kill", cells("thrown_away", unit="steps", digits=0) | {
            "Lockstep": "not told", "torchrun": "not told"}),
    ]
    for key in (SEEN, THERE, FORMED):
        lines.append(Line(f"{head}: of it, {key}", {"Lockstep": spread([one[key] for one in inside], digits=3)}))
    return lines
