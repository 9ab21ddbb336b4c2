"""From a command to the first step of a GPT-2 of 124 M parameters, with two ranks."""

from harness.figures import Claim, Row, ratio, spread
from rows import models

DEADLINE = 300.0
OPTIONS = "[12,12,768,1024,50257]"


def measure(bench):
    uri, flat = models.windows(bench)
    values = {"ours": [], "theirs": []}
    # Once each for the page cache.
    for number in range(bench.n + 1):
        ours, theirs = _ours(bench, uri), _theirs(bench, flat)
        bench.say(f"  first step after {ours:.2f} s, torchrun {theirs:.2f} s")
        if number:
            values["ours"].append(ours)
            values["theirs"].append(theirs)
    times = ratio(values["theirs"], values["ours"])
    claim = Claim(
        "`launch --local` → first step, GPT-2 of 124 M parameters, 128 tokens a rank", spread(values["ours"], "s"),
        spread(values["theirs"], "s"), f"{times:.1f}x sooner", "≥ 3x sooner", times >= 3,
    )
    return Row("large", [claim], values, ["The first step itself is in it, on one thread a rank, and the initial weights: on two cores 1.8 s of our 3.4"])


def _ours(bench, uri):
    with bench.ours(job="models/gpt2.yaml", data_train_uri=uri) as run:
        return run.wait_for(run.STEP, DEADLINE)[0] - run.started


def _theirs(bench, flat):
    words = ["--model", "gpt", "--options", OPTIONS, "--steps", 10**9, "--batch", 2, "--variant", "fused"]
    with bench.theirs(*words, data=flat, script="models.py") as twin:
        return twin.wait_for(r'^{"restart": 0, ', DEADLINE)[0] - twin.started
