"""From a command to the first optimizer step: time, CPU and memory of a rank."""

import time
from statistics import median

from harness import proc
from harness.figures import Claim, Row, by_side, ratio, spread


def measure(bench):
    ours, theirs = [], []
    # Once each for the page cache.
    _launch(bench.ours())
    _launch(bench.theirs("--steps", 10**9))
    for _ in range(bench.n):
        ours.append(_launch(bench.ours()))
        theirs.append(_launch(bench.theirs("--steps", 10**9)))
        bench.say(f"  first step after {ours[-1]['launch']:.2f} s, torchrun {theirs[-1]['launch']:.2f} s")
    values = by_side(ours, theirs)
    return Row("start", _claims(values), values, [
        "«Exec» is the start of a rank's own process; CPU-seconds are read from the processes' CPU clocks when the "
        "line of the first step arrives, so a few milliseconds of training are in them. «With its share» adds "
        "torchrun's, or launcher's and agents', time divided by the two ranks; memory is VmHWM after one more second "
        "of training"
    ])


def _launch(child):
    with child as run:
        at = run.first_step()
        ranks, keepers = run.ranks(), run.keepers()
        rank_cpu, keeper_cpu = [proc.cpu(pid) for pid in ranks], [proc.cpu(pid) for pid in keepers]
        late = time.monotonic() - at
        ages = [proc.age(pid) - late for pid in ranks]
        run.watch(1.0)
        return {
            "launch": at - run.started,
            "exec": sum(ages) / len(ranks),
            "rank cpu": sum(rank_cpu) / len(ranks),
            "all cpu": (sum(rank_cpu) + sum(keeper_cpu)) / len(ranks),
            "rss": max(proc.peak_rss(pid) for pid in ranks),
        }


def _claims(v):
    def claim(what, key, unit="s", digits=2, more="less", reach="", met=None):
        ours, theirs = v[f"ours {key}"], v[f"theirs {key}"]
        times = ratio(theirs, ours)
        shown = (spread(values, unit, digits) for values in (ours, theirs))
        return Claim(what, *shown, f"{times:.1f}x {more}", reach, met(median(ours), times) if met else None)

    return [
        claim("exec → first step, CPU-seconds of a rank's process", "rank cpu",
              reach="≤ 0.35 s", met=lambda ours, _: ours <= 0.35),
        claim("the same with its share of torchrun, or of launcher and agents", "all cpu",
              reach="≥ 8x less", met=lambda _, times: times >= 8),
        claim("exec → first step, wall time of a rank's process", "exec", more="sooner"),
        claim("RSS of a rank", "rss", "MB", 0, reach="≤ 130 MB", met=lambda ours, _: ours <= 130),
        claim("`launch --local` → first step", "launch", more="sooner",
              reach="≥ 6x sooner", met=lambda _, times: times >= 6),
    ]
