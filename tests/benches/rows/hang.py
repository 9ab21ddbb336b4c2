"""A worker is stopped with SIGSTOP: how soon does the next step come, if it comes?"""

import signal
import time

from harness import proc
from harness.figures import Claim, Row, spread

REACH = 5.0


def measure(bench):
    ours = []
    for _ in range(bench.n):
        ours.append(_ours(bench))
        bench.say(f"  next step after {ours[-1]:.2f} s")
    patience = 10.0 if bench.quick else 60.0
    seen = _theirs(bench, patience)
    met = max(ours) <= REACH
    what = "stop a worker (SIGSTOP) → first new step"
    claim = Claim(what, spread(ours, "s"), seen, "", "≤ 5 s: dead (3 s) + 2 s", met)
    note = f"Torchrun is watched once, for {patience:.0f} s; the slowest of ours must keep the reach"
    return Row("hang", [claim], {"ours": ours}, [note])


def _ours(bench):
    with bench.ours(log_every="1 steps", checkpoint_every="200 steps") as run:
        run.first_step()
        run.watch(2.0)
        at = time.monotonic()
        proc.send(run.ranks()[1], signal.SIGSTOP)
        return run.next_life() - at


def _theirs(bench, patience):
    with bench.theirs("--steps", 10**9, restarts=3) as run:
        run.first_step()
        run.watch(2.0)
        at = time.monotonic()
        proc.send(run.ranks()[1], signal.SIGSTOP)
        # What was under way when the signal came.
        run.watch(1.0)
        for line_at, text in run.lines(at + patience):
            if text.startswith('{"restart"'):
                return f"{line_at - at:.1f} s"
        return f"no step in {patience:.0f} s, no restart, no message"
