"""From a command to the first optimizer step: time, CPU and memory of a rank."""

import time

from harness import proc
from harness.figures import Claim, Row, ratio, spread


def measure(bench):
    ours, theirs = [], []
    # Once each for the page cache.
    _launch(bench.ours())
    _launch(bench.theirs("--steps", 10**9))
    for _ in range(bench.n):
        ours.append(_launch(bench.ours()))
        theirs.append(_launch(bench.theirs("--steps", 10**9)))
        bench.say(f"  first step after {ours[-1]['launch']:.2f} s, torchrun {theirs[-1]['launch']:.2f} s")
    values = {f"{side} {key}": [s[key] for s in samples] for side, samples in (("ours", ours), ("theirs", theirs)) for key in samples[0]}
    return Row("start", _claims(values), values, [
        "«Exec» is the start of a rank's own process; CPU-seconds are read from the processes' CPU clocks when the "
        "line of the first step arrives, so a few milliseconds of training are in them. «With its share» adds "
        "torchrun's, or launcher's and agents', time divided by the two ranks; memory is VmHWM after one more second "
        "of training."
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
    pair = lambda key, unit="s", digits=2: (spread(v[f"ours {key}"], unit, digits), spread(v[f"theirs {key}"], unit, digits))
    times = lambda key: ratio(v[f"theirs {key}"], v[f"ours {key}"])
    ours_cpu = sorted(v["ours rank cpu"])[len(v["ours rank cpu"]) // 2]
    rss = sorted(v["ours rss"])[len(v["ours rss"]) // 2]
    return [
        Claim("exec → first step, CPU-seconds of a rank's process", *pair("rank cpu"), f"{times('rank cpu'):.1f}x less", "≤ 0.35 s", ours_cpu <= 0.35),
        Claim("the same with its share of torchrun, or of launcher and agents", *pair("all cpu"), f"{times('all cpu'):.1f}x less", "≥ 8x less", times("all cpu") >= 8),
        Claim("exec → first step, wall time of a rank's process", *pair("exec"), f"{times('exec'):.1f}x sooner", "", None),
        Claim("RSS of a rank", *pair("rss", "MB", 0), f"{times('rss'):.1f}x less", "≤ 130 MB", rss <= 130),
        Claim("`launch --local` → first step", *pair("launch"), f"{times('launch'):.1f}x sooner", "≥ 6x sooner", times("launch") >= 6),
    ]
