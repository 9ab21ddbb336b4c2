"""A worker is stopped with SIGSTOP: when is the next step, its detection included, if there is one?"""

import signal

from harness.figures import Row
from recovery import nets
from recovery.report import Line, spread
from recovery.sides import Lockstep, Stuck, Torchft, Torchrun

STEPS = 50
# Which rank: neither the first, which reports, nor the last.
RANK = 1


def measure(bench):
    net = nets.mlp(bench, [128])
    cases = {
        "as it comes": {
            "Lockstep": lambda: Lockstep(bench, net, bench.ranks),
            "torchrun": lambda: Torchrun(bench, net, bench.ranks, bench.every),
            "torchft": lambda: Torchft(bench, net, bench.ranks),
        },
        "detection set to 1 s (`recovery.dead`, `--heartbeat_timeout_ms`)": {
            "Lockstep": lambda: Lockstep(bench, net, bench.ranks, recovery_dead="1s"),
            "torchft": lambda: Torchft(bench, net, bench.ranks, heartbeat=1.0),
        },
    }
    lines, values = [], {}
    for case, makers in cases.items():
        found = {side: [] for side in makers}
        for sample in range(bench.n):
            for side, make in makers.items():
                # It takes the whole patience, and says the same each time.
                if side == "torchrun" and sample:
                    continue
                found[side].append(stopped(bench, make()))
                bench.say(f"  {case}, {side}: {found[side][-1] or 'nothing'}")
        for key, what in (("some", "next step of anybody"), ("all", "next step of all ranks")):
            cells = {side: shown(bench, ones, key) for side, ones in found.items()}
            lines.append(Line(f"SIGSTOP of a worker → {what}, {case}", cells))
            values |= {f"{case}, {side}, {key}": [one[key] for one in ones if one[key] is not None]
                       for side, ones in found.items()}
    return Row("stop", lines, values, [
        f"{net.what}, {bench.ranks} ranks, rank {RANK} is stopped. Who doesn't go on is watched for {bench.watch:.0f} s, torchrun once"
    ])


def stopped(bench, child):
    """Seconds until the next step of anybody and of all; None for what did not come."""
    with child as run:
        run.trains(STEPS)
        life = run.history[-1].life
        try:
            found = run.strike([RANK], signal.SIGSTOP, bench.watch, by_all=False)
            some = found.some
        except Stuck:
            return {"some": None, "all": None}
        if run.history[-1].ranks == run.world:
            return {"some": some, "all": found.all}
        try:
            return {"some": some, "all": run.recovered(life, bench.watch).all}
        except Stuck:
            return {"some": some, "all": None}


def shown(bench, ones, key):
    times = [one[key] for one in ones if one[key] is not None]
    if len(times) == len(ones):
        return spread(times)
    return f"none in {bench.watch:.0f} s ({len(ones) - len(times)} of {len(ones)})" + (f"; {spread(times)}" if times else "")
