"""A worker is killed with SIGKILL, three times in one run: how soon does the next step come?"""

import signal
import time

from harness import proc
from harness.figures import Claim, Row, by_side, growth, ratio, spread, texts
from harness.launch import Launch
from peers.trainjob import TrainJob

KILLS = 3
GROWTH = 1.25


def measure(cluster):
    ours, theirs = [], []
    for _ in range(cluster.n):
        ours.append(_kill(Launch(cluster, "kill", log_every="10 steps")))
        theirs.append(_kill(TrainJob(cluster, "kill")))
        cluster.say(f"  next step after {texts(ours[-1])}; TrainJob {texts(theirs[-1])}")
    values = by_side(ours, theirs)
    return Row("kill", _claims(values), values, [
        "Rank 1's process. Ours carries on from its last checkpoint; theirs starts over at step 1, in a container that the "
        "kubelet starts again with a pause that grows"
    ])


def _kill(side):
    with side as run:
        run.first_step()
        run.steady()
        took = {}
        for k in range(1, KILLS + 1):
            victim = run.cluster.ranks(run.job)[1]
            at = time.time()
            proc.send(victim, signal.SIGKILL)
            took[k], _ = run.next_life(at)
            run.settle()
        return took


def _claims(v):
    claims = []
    for name, k in (("first", 1), ("third", KILLS)):
        share = 1 / ratio(v[f"theirs {k}"], v[f"ours {k}"])
        claims.append(Claim(
            f"worker killed → next step, the {name} time", spread(v[f"ours {k}"], "s"), spread(v[f"theirs {k}"], "s"),
            f"{share:.2f}x", "≤ 0.2x", share <= 0.2,
        ))
    slower, theirs_slower = growth(v, 1, KILLS)
    claims.append(Claim("the third time against the first", f"{slower:.2f}x", f"{theirs_slower:.2f}x",
                        "", f"no growth (≤ {GROWTH}x)", slower <= GROWTH))
    return claims
