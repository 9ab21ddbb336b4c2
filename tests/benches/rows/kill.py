"""A worker is killed with SIGKILL, three times in one run: how soon does the next step come?"""

import signal
import time

from harness import proc
from harness.figures import Claim, Row, by_side, growth, ratio, spread, texts

KILLS = 3
# More than the kills: one of them may take torchrun more than one restart.
RESTARTS = 20
# Long enough for a checkpoint and for a torchrun that looks at its workers ten times a second.
BETWEEN = 2.0


def measure(bench):
    ours, theirs = [], []
    for _ in range(bench.n):
        ours.append(_kill(bench.ours(log_every="1 steps", checkpoint_every="200 steps")))
        theirs.append(_kill(bench.theirs("--steps", 10**9, restarts=RESTARTS)))
        bench.say(f"  next step after {texts(ours[-1])}; torchrun {texts(theirs[-1])}")
    values = by_side(ours, theirs)
    return Row("kill", _claims(values), values, [
        "From the signal to the first step that the new processes have done. Lockstep carries on from its last "
        "checkpoint (every 200 steps); the twin keeps no checkpoints and starts over at step 1, which costs it nothing "
        "here. Torchrun runs with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1: without it a restarted rank may find its "
        "peer's former address in torchrun's store, and fails once more"
    ])


def _kill(child):
    with child as run:
        run.first_step()
        took = {}
        for k in range(1, KILLS + 1):
            run.watch(BETWEEN)
            at, victim = time.monotonic(), run.ranks()[1]
            proc.send(victim, signal.SIGKILL)
            took[k] = run.next_life() - at
        return took


def _claims(v):
    claims = []
    for name, k in (("first", 1), ("third", KILLS)):
        ours, theirs = v[f"ours {k}"], v[f"theirs {k}"]
        times = ratio(theirs, ours)
        claims.append(Claim(
            f"kill a worker → first new step, the {name} time", spread(ours, "s"), spread(theirs, "s"),
            f"{times:.1f}x sooner", "≥ 6x sooner", times >= 6,
        ))
    slower, theirs_slower = growth(v, 1, KILLS)
    claims.append(Claim(
        "the third time against the first", f"{slower:.2f}x", f"{theirs_slower:.2f}x",
        "", "no slower (≤ 1.10x)", slower <= 1.10,
    ))
    return claims
