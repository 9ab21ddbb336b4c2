"""From the command to the first step, image present: time, and CPU-seconds of the whole machine."""

from statistics import mean, median

from harness import proc
from harness.figures import Claim, Row, by_side, ratio, spread
from harness.launch import Launch
from peers import bare
from peers.trainjob import TrainJob

STEPS = 500
# Both sides begin with weights and an order of their own.
LOSSES_WITHIN = 0.10


def measure(cluster):
    # Once each for the page cache.
    _start(lambda: Launch(cluster, "warm"))
    _start(lambda: TrainJob(cluster, "warm"))
    bares, ours, theirs = [], [], []
    for _ in range(cluster.n):
        bares.append(bare.start(cluster))
        ours.append(_start(lambda: Launch(cluster, "start")))
        theirs.append(_start(lambda: TrainJob(cluster, "start")))
        cluster.say(f"  bare pods after {bares[-1]:.2f} s; first step after {ours[-1]['first step']:.2f} s, "
                    f"TrainJob {theirs[-1]['first step']:.2f} s")
    values = by_side(ours, theirs) | {"bare pods": bares}
    return Row("start", _claims(values), values, [
        "Ours from the command to the line that tells of the first step; theirs from `kubectl apply` to the time that its "
        "log gives the first step. The bare Job is of our image, and its pods do nothing; from `kubectl create` until both "
        f"run. CPU-seconds are all that the machine used meanwhile. Losses are the mean of steps 101 to {STEPS} of the last "
        "sample"
    ])


def _start(side):
    used = proc.machine_cpu()
    with side() as run:
        took = run.first_step()
        used = proc.machine_cpu() - used
        losses = run.losses(STEPS)
    return {"first step": took, "cpu": used, "losses": [losses[step] for step in sorted(losses)]}


def _claims(v):
    above = median(v["ours first step"]) - median(v["bare pods"])
    shares = {key: 1 / ratio(v[f"theirs {key}"], v[f"ours {key}"]) for key in ("first step", "cpu")}
    ours, theirs = (mean(v[f"{side} losses"][-1][1:]) for side in ("ours", "theirs"))
    apart = abs(ours / theirs - 1)
    shown = {side: ", ".join(f"{loss:.4f}" for loss in v[f"{side} losses"][-1]) for side in ("ours", "theirs")}
    return [
        Claim(f"loss, mean of each 100 steps up to {STEPS}", shown["ours"], shown["theirs"],
              f"{apart:.1%} apart after the first 100", f"≤ {LOSSES_WITHIN:.0%}", apart <= LOSSES_WITHIN),
        Claim("launch, 2 nodes → first step, against the pods of a bare Job", spread(v["ours first step"], "s"),
              f"bare pods run after {spread(v['bare pods'], 's')}", f"+{above:.2f} s", "≤ +0.7 s", above <= 0.7),
        Claim("launch, 2 nodes → first step", spread(v["ours first step"], "s"), spread(v["theirs first step"], "s"),
              f"{shares['first step']:.2f}x", "≤ 0.3x", shares["first step"] <= 0.3),
        Claim("CPU-seconds of the whole machine, launch → first step", spread(v["ours cpu"], "s"), spread(v["theirs cpu"], "s"),
              f"{shares['cpu']:.2f}x", "≤ 0.3x", shares["cpu"] <= 0.3),
    ]
