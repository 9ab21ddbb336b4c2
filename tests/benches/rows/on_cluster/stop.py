"""A worker is stopped with SIGSTOP: how soon does the next step come, if it comes?"""

import signal
import time

from harness import proc
from harness.figures import Claim, Row, spread
from harness.launch import Launch
from peers.trainjob import TrainJob

REACH = 5.0
PATIENCE = 75.0


def measure(cluster):
    ours = []
    for _ in range(cluster.n):
        with Launch(cluster, "stop", log_every="10 steps") as run:
            run.first_step()
            run.steady()
            ours.append(run.next_life(_stop(run))[0])
        cluster.say(f"  next step after {ours[-1]:.2f} s")
    seen = _theirs(cluster)
    cluster.say(f"  TrainJob: {seen}")
    claim = Claim("worker stopped (SIGSTOP) → next step", spread(ours, "s"), seen, "", "≤ 5 s: dead (3 s) + 2 s", max(ours) <= REACH)
    return Row("stop", [claim], {"ours": ours}, [
        f"Rank 1's process. Theirs is watched once, for {PATIENCE:.0f} s; the slowest of ours must keep the reach"
    ])


def _stop(run):
    victim = run.cluster.ranks(run.job)[1]
    at = time.time()
    proc.send(victim, signal.SIGSTOP)
    return at


def _theirs(cluster):
    with TrainJob(cluster, "stop") as run:
        run.first_step()
        run.steady()
        at = _stop(run)
        # What was under way when the signal came is not counted.
        while (waited := time.time() - at) < PATIENCE:
            time.sleep(1.0)
            if run.steps_after(at + 1.0):
                return f"{waited:.0f} s"
        return f"no step in {PATIENCE:.0f} s"
