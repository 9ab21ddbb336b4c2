"""What launcher, agents and the control channel cost while training goes on."""

import time
from statistics import median

from harness import proc
from harness.figures import Claim, Row, spread


def measure(bench):
    seconds = 5.0 if bench.quick else 15.0
    shares, values = [], {"launcher and agents": [], "link threads": [], "workers": []}
    for _ in range(bench.n):
        used = _used(bench, seconds)
        for key, cpu in used.items():
            values[key].append(cpu)
        keepers, links, workers = used.values()
        shares.append((keepers + links) / (keepers + workers) * 100)
        bench.say(f"  {shares[-1]:.2f} %: " + ", ".join(f"{key} {cpu:.3f} s" for key, cpu in used.items()))
    values["share"] = shares
    what = "launcher, agents and the workers' link threads, of all CPU time"
    claim = Claim(what, spread(shares, "%"), "", "", "≤ 1 %", median(shares) <= 1.0)
    note = f"Over {seconds:.0f} s of training with the default log and checkpoint intervals. A link thread is a "
    note += "worker's end of the control channel"
    return Row("overhead", [claim], values, [note])


def _used(bench, seconds):
    with bench.ours() as run:
        run.first_step()
        run.watch(2.0)
        ranks, keepers = run.ranks(), run.keepers()

        def read():
            return {
                "launcher and agents": sum(map(proc.cpu, keepers)),
                "link threads": sum(proc.threads_cpu(pid, "link") for pid in ranks),
                "workers": sum(map(proc.cpu, ranks)),
            }

        before, at = read(), time.monotonic()
        run.watch(seconds)
        after, took = read(), time.monotonic() - at
        if run.ranks() != ranks or took < seconds:
            raise run.failure("training was not steady")
        return {key: after[key] - before[key] for key in before}
