"""What is trained: the digits network and the small GPT, with the same weights, batches and order on all sides."""

from dataclasses import dataclass, field
from pathlib import Path

from recovery.report import Line
from recovery.sides import Lockstep, Torchft, Torchrun
from rows import models

EQUAL_STEPS, EQUAL_WITHIN = 20, 1e-3
DEADLINE = 180.0


@dataclass
class Net:
    """A network, as a job of ours and as words for the twin."""

    name: str
    what: str
    job: str
    kind: str
    options: str
    batch: int
    sets: dict = field(default_factory=dict)
    flat: Path | None = None

    def words(self, more):
        """What the twin's script is told; `more` may name options besides."""
        words = ["--model", self.kind, "--options", self.options, "--batch", self.batch, "--data", self.flat]
        return words + [word for name, value in more.items() for word in (f"--{name.replace('_', '-')}", value)]


def mlp(bench, hidden, batch=64, name="mlp"):
    widths = [64, *hidden, 10]
    parameters = sum((a + 1) * b for a, b in zip(widths, widths[1:]))
    sets = {"model_hidden": str(hidden).replace(" ", ""), "train_globalBatch": batch, "data_shuffle_block": 1}
    return Net(name, f"MLP of {parameters:,} parameters", "mlp.yaml", "mlp", f"[{widths}]", batch, sets, bench.flat)


def gpt(bench):
    uri, flat = models.windows(bench)
    return Net("gpt", "GPT of 0.8 M parameters", "gpt.yaml", "gpt", "[4,4,128,128,256]", 8,
               {"data_train_uri": uri}, flat)


def both(bench):
    return [mlp(bench, [128]), gpt(bench)]


def equal(bench, net):
    """From the same weights, each step on the same samples: a line of the table, and whether the losses are the same."""
    weights = models.first_weights(bench, net, net.sets)
    with Lockstep(bench, net, bench.ranks, train_steps=EQUAL_STEPS) as run:
        run.finish(DEADLINE)
    losses = {"Lockstep": [metric["loss"] for metric in bench.lockstep("metrics", run.run_dir)]}
    more = {"weights": weights, "mean_loss": 1, "steps": EQUAL_STEPS}
    for name, twin in (("torchrun", Torchrun(bench, net, bench.ranks, 0, **more)),
                       ("torchft", Torchft(bench, net, bench.ranks, least=bench.ranks, **more))):
        with twin:
            told = {step.number: step.loss for step in twin.steps(DEADLINE) if step.ranks == bench.ranks}
            losses[name] = [told[number] for number in sorted(told)]
    ours = losses["Lockstep"]
    apart = {
        name: max(abs(a - b) / b for a, b in zip(ours, theirs, strict=True)) if len(theirs) == len(ours) else 1.0
        for name, theirs in losses.items()
    }
    same = len(ours) == EQUAL_STEPS and max(apart.values()) <= EQUAL_WITHIN
    bench.say(f"  {net.name}: losses of {EQUAL_STEPS} steps are " + ", ".join(f"{v:.1e} apart from {k}'s" for k, v in apart.items()))
    return Line(
        f"{net.what}: loss at step 1 and {EQUAL_STEPS}, same weights and batches",
        {name: f"{values[0]:.6f}, {values[-1]:.6f} ({apart[name]:.0e} apart at most)" if values else "none"
         for name, values in losses.items()},
    ), same
