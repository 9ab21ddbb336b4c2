"""The time of a DDP step of the digits network, once both sides are known to compute the same."""

import re
import time
from statistics import mean, median
from urllib.parse import urlparse

from harness import digits, proc
from harness.children import Child
from harness.figures import Claim, Row, ratio, spread

EQUAL_STEPS, EQUAL_WITHIN = 50, 1e-3
EVERY = 50
STEPS = 2500
# Compared over these intervals, the second to the tenth, in which the loss falls from 0.5 to 0.05.
CURVE, CURVE_WITHIN = slice(1, 10), 0.05
WARM_UP = 4
BATCHES = (64, 128)
DEADLINE = 120.0


def measure(bench):
    weights = _first_weights(bench)
    claims, same = _equality(bench, weights)
    values = {}
    for batch in BATCHES:
        found = {"ours": [], "default": [], "fused": []}
        for _ in range(bench.n):
            found["ours"].append(_ours(bench, batch))
            found["default"].append(_twin(bench, batch, weights))
            found["fused"].append(_twin(bench, batch, weights, "--fused"))
            bench.say(f"  batch {batch}: " + ", ".join(f"{name} {s[-1]['ms']:.3f} ms" for name, s in found.items()))
        of = {name: {key: [s[key] for s in samples] for key in samples[0]} for name, samples in found.items()}
        values |= {f"batch {batch}, {name}, {key}": v for name, keys in of.items() for key, v in keys.items()}
        claims += _claims(batch, of, same)
    return Row("step", claims, values, [
        "A step is one interval of 50 steps divided by 50, a sample the median of a run's intervals after the first "
        f"{WARM_UP}. Ours has everything in it that a user's run has (loader, gradient norm, non-finite check, "
        "seeds, progress); the twin has its data in memory and no data loader. «Fused» has gradients as views of the "
        "buckets too"
    ])


def _claims(batch, of, same):
    head = f"DDP step, 2 ranks, 9,610 parameters, {batch // 2} samples a rank"
    curve = {name: median(of[name]["curve"]) for name in of}
    apart = max(abs(curve[name] / curve["ours"] - 1) for name in ("default", "fused"))
    claims = [Claim(
        f"{head}: mean loss of steps 51 to 500", f"{curve['ours']:.4f}",
        f"{curve['default']:.4f}, fused {curve['fused']:.4f}",
        f"{apart:.1%} apart", f"≤ {CURVE_WITHIN:.0%}", apart <= CURVE_WITHIN,
    )]
    same = same and apart <= CURVE_WITHIN
    for name, reach in (("default", 1.8), ("fused", 1.4)):
        times = ratio(of[name]["ms"], of["ours"]["ms"])
        claims.append(Claim(
            f"{head}, against {name} AdamW", spread(of["ours"]["ms"], "ms", 3), spread(of[name]["ms"], "ms", 3),
            f"{times:.2f}x" if same else f"{times:.2f}x, but the losses differ", f"≥ {reach}x", same and times >= reach,
        ))
    least = {name: min(of[name]["least_ms"]) for name in of}
    claims.append(Claim(
        f"{head}: the fastest 50 steps of all", f"{least['ours']:.3f} ms",
        f"{least['default']:.3f} ms, fused {least['fused']:.3f} ms",
        f"{least['default'] / least['ours']:.2f}x, fused {least['fused'] / least['ours']:.2f}x", "", None,
    ))
    claims.append(Claim(
        f"{head}: CPU time of a rank", spread(of["ours"]["cpu_ms"], "ms", 3),
        f"{spread(of['default']['cpu_ms'], 'ms', 3)}, fused {spread(of['fused']['cpu_ms'], 'ms', 3)}", "", "", None,
    ))
    return claims


def _first_weights(bench):
    """Our weights before any update: a rate this small changes no bit of a float32."""
    with bench.ours(train_steps=1, optimizer_lr="1e-30") as run:
        run.finish(DEADLINE)
    return _model(bench, run)


def _model(bench, run):
    newest = bench.lockstep("checkpoint", "list", run.run_dir)[0]
    return f"{urlparse(newest['uri']).path}/model.safetensors"


def _equality(bench, weights):
    """Both sides from the same weights, each step on the same samples: all that there are."""
    folder, rows = bench.new_folder(), bench.rows[: BATCHES[0]]
    csv, flat = digits.write_csv(folder / "batch.csv", rows), digits.write_flat(folder / "batch.bin", rows)
    with Child([bench.binaries / "lockstep", "data", "pack", csv, folder / "data", "--dtype", "uint8"]) as pack:
        pack.finish(DEADLINE)
    with bench.ours(train_steps=EQUAL_STEPS, log_every="1 steps", data_train_uri=folder / "data") as run:
        run.finish(DEADLINE)
    ours = [metric["loss"] for metric in bench.lockstep("metrics", run.run_dir)]
    claims, all_same = [], True
    for name, more in (("default", ()), ("fused", ("--fused",))):
        with bench.theirs("--steps", EQUAL_STEPS, "--weights", weights, *more, data=flat) as twin:
            theirs = [interval["loss"] for interval in twin.intervals(DEADLINE)]
        apart = max(abs(a - b) / b for a, b in zip(ours, theirs, strict=True))
        same = len(ours) == EQUAL_STEPS and apart <= EQUAL_WITHIN
        all_same &= same
        claims.append(Claim(
            f"loss at step 1 and {EQUAL_STEPS}, same weights and batches, against {name} AdamW",
            f"{ours[0]:.6f}, {ours[-1]:.6f}", f"{theirs[0]:.6f}, {theirs[-1]:.6f}",
            f"≤ {apart:.1e} apart at every step", f"≤ {EQUAL_WITHIN:.0e}", same,
        ))
        bench.say(f"  losses of {EQUAL_STEPS} steps are {apart:.1e} apart from {name} AdamW's")
    return claims, all_same


def _ours(bench, batch):
    marks = []
    with bench.ours(train_steps=STEPS, train_globalBatch=batch, log_every=f"{EVERY} steps") as run:
        run.first_step()
        ranks = run.ranks()
        for _, text in run.lines(time.monotonic() + DEADLINE):
            if found := re.match(run.STEP, text):
                marks.append((int(found[1]), sum(map(proc.cpu, ranks)) / len(ranks)))
        run.finish(DEADLINE)
    # The first step has a line of its own.
    metrics = [metric for metric in bench.lockstep("metrics", run.run_dir) if metric["step"] % EVERY == 0]
    ms = [batch / metric["samples_per_second"] * 1e3 for metric in metrics]
    # The last mark may come from a rank that is writing the last checkpoint, or is gone.
    (first, cpu_then), (last, cpu_now) = marks[WARM_UP], marks[-3]
    return _sample(ms, (cpu_now - cpu_then) / (last - first) * 1e3, [metric["loss"] for metric in metrics])


def _twin(bench, batch, weights, *more):
    with bench.theirs("--steps", STEPS, "--every", EVERY, "--batch", batch, "--weights", weights, *more) as twin:
        intervals = twin.intervals(DEADLINE)
    ms = [interval["seconds"] / EVERY * 1e3 for interval in intervals]
    cpu = mean(interval["cpu_seconds"] / EVERY * 1e3 for interval in intervals[WARM_UP:])
    return _sample(ms, cpu, [interval["loss"] for interval in intervals])


def _sample(ms, cpu_ms, losses):
    return {"ms": median(ms[WARM_UP:]), "least_ms": min(ms[WARM_UP:]), "cpu_ms": cpu_ms, "curve": mean(losses[CURVE])}
