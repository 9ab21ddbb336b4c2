"""A pod is deleted: how soon does the next step come, and from where does training go on?"""

from statistics import median

from harness.figures import Claim, Row, by_side, ratio, spread
from harness.launch import Launch
from peers import bare
from peers.trainjob import TrainJob

# How long the Job controller waits before it makes the next pod.
BACK_OFF = 10.0


def measure(cluster):
    bares, ours, theirs = [], [], []
    for _ in range(cluster.n):
        bares.append(bare.start(cluster))
        ours.append(_delete(Launch(cluster, "delete", log_every="10 steps")))
        theirs.append(_delete(TrainJob(cluster, "delete")))
        cluster.say(f"  next step after {_texts(ours[-1])}; TrainJob {_texts(theirs[-1])}")
    values = by_side(ours, theirs) | {"bare pods": bares}
    return Row("delete", _claims(values), values, [
        "`kubectl delete pod` of one index after the other in one run. The Job controller waits 10 s before it makes the next "
        f"pod; a pod's start is that of the bare Job's, {spread(bares, 's')}"
    ])


def _delete(side):
    found = {}
    with side as run:
        run.first_step()
        run.steady()
        for index in (1, 0):
            found[index], found[f"from {index}"] = run.next_life(run.cluster.delete_pod(run.job, index))
            run.settle()
    return found


def _texts(found):
    return ", ".join(f"{found[index]:.1f} s (index {index}, from {found[f'from {index}']})" for index in (1, 0))


def _claims(v):
    reach = BACK_OFF + median(v["bare pods"]) + 2.0
    claims = []
    for index in (0, 1):
        ours, theirs = v[f"ours {index}"], v[f"theirs {index}"]
        kept = all(began.startswith("checkpoint") for began in v[f"ours from {index}"])
        what = f"pod of index {index} deleted → next step"
        claims.append(Claim(what, spread(ours, "s"), spread(theirs, "s"), f"from {v[f'ours from {index}'][-1]}, theirs from step 0",
                            f"≤ {reach:.1f} s: 10 s + pod start + 2 s, from a checkpoint", kept and median(ours) <= reach))
        share = 1 / ratio(theirs, ours)
        claims.append(Claim("the same, against theirs", "", "", f"{share:.2f}x", "never slower", share <= 1.0))
    return claims
