"""The time of a DDP step of larger networks, once both sides are known to compute the same."""

import re
import time
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlparse

from harness import digits, noise, proc
from harness.children import Child
from harness.figures import Claim, Row, ratio, spread

DEADLINE = 600.0
EQUAL_STEPS, EQUAL_WITHIN = 20, 1e-3
WARM_UP = 2
VARIANTS = ("default", "fused", "compile")


@dataclass
class Case:
    """A network with its data on both sides, and how many steps are an interval."""

    name: str
    what: str
    job: str
    kind: str
    options: str
    batch: int
    every: int
    sets: dict
    reach: dict
    bf16: bool = False
    ranks: int = 2

    def variants(self):
        return [variant for variant in VARIANTS if variant in self.reach]


def measure(bench):
    of_pictures, of_windows = pictures(bench), windows(bench)
    cases = [
        _mlp("mlp 1.1 M", "[1024,1024]", [64, 1024, 1024, 10]),
        _mlp("mlp 8.5 M", "[2048,2048,2048]", [64, 2048, 2048, 2048, 10]),
    ]
    for bf16 in (False, True):
        kind = ", bf16" if bf16 else ""
        low = {"default": 1.05, "fused": 1.05}
        cases.append(Case(
            f"resnet{kind}", f"ResNet-20, 32 pictures a rank{kind}", "resnet.yaml", "resnet", "[20,3,10]", 64, 10,
            {}, low if bf16 else {"default": 1.15, "fused": 1.05, "compile": 1.0}, bf16,
        ))
        cases.append(Case(
            f"gpt{kind}", f"GPT of 0.8 M parameters, 4 x 128 tokens a rank{kind}", "gpt.yaml", "gpt",
            "[4,4,128,128,256]", 8, 10, {}, low if bf16 else {"default": 1.05, "fused": 1.0, "compile": 0.95}, bf16,
        ))
    claims, values = [], {}
    for case in cases:
        data = {"mlp": (None, bench.flat), "resnet": of_pictures, "gpt": of_windows}[case.kind]
        found, told = _case(bench, case, data)
        claims += told
        values |= {f"{case.name}, {side}, {key}": samples for side, keys in found.items() for key, samples in keys.items()}
    return Row("models", claims, values, [
        "A sample is the median of a run's intervals after the first "
        f"{WARM_UP}. Ours has everything in it that a user's run has, and decodes its pictures; the twin's data lies in "
        "memory as tensors. Both compute on the same samples in the same order from the same weights, and losses are "
        "compared at each of the first steps, but for torch.compile's, whose last one is shown. «Fused» has fused optimizers and gradients as views of the buckets, «compile» "
        "torch.compile besides"
    ])


def _mlp(name, hidden, widths):
    sets = {"model_hidden": hidden, "data_shuffle_block": 1}
    return Case(name, f"{name} parameters, 64 samples a rank", "mlp.yaml", "mlp", f"[{widths}]", 128, 50, sets,
                {"default": 1.15, "fused": 1.15})


def _case(bench, case, data):
    sets, weights, flat = _prepared(bench, case, data)
    equal, apart = {}, 0.0
    for side in ("ours", *case.variants()):
        equal[side] = _run(bench, case, side, sets, weights, flat, EQUAL_STEPS, 1)["losses"]
    for side in case.variants():
        # Inductor's kernels round in ways of their own, and training on noise makes more of that with each step.
        if side != "compile":
            apart = max(apart, *(abs(a - b) / b for a, b in zip(equal["ours"], equal[side], strict=True)))
    within = EQUAL_WITHIN * (10 if case.bf16 else 1)
    same = apart <= within
    claims = [Claim(
        f"{case.what}: loss at step 1 and {EQUAL_STEPS}", f"{equal['ours'][0]:.6f}, {equal['ours'][-1]:.6f}",
        ", ".join(f"{side} {equal[side][-1]:.6f}" for side in case.variants()),
        f"≤ {apart:.1e} apart at every step", f"≤ {within:.0e}", same,
    )]
    found = _timed(bench, case, list(equal), sets, weights, flat)
    ours = found["ours"]
    for side in case.variants():
        times, reach = ratio(found[side]["ms"], ours["ms"]), case.reach[side]
        claims.append(Claim(
            f"DDP step, 2 ranks, {case.what}, against {side}", spread(ours["ms"], "ms"), spread(found[side]["ms"], "ms"),
            f"{times:.2f}x" if same else f"{times:.2f}x, but the losses differ", f"≥ {reach}x", same and times >= reach,
        ))
    share = median(ours["rss"]) / median(found["default"]["rss"])
    claims.append(Claim(
        f"{case.what}: RSS of a rank", spread(ours["rss"], "MB", 0), spread(found["default"]["rss"], "MB", 0),
        f"{share:.2f}x", "≤ 0.5x", share <= 0.5,
    ))
    return found, claims


def times(bench, case, data, sides):
    """Times of a step and memory of a rank, of ours and of these."""
    return _timed(bench, case, ["ours", *sides], *_prepared(bench, case, data))


def _prepared(bench, case, data):
    uri, flat = data
    sets = dict(case.sets, train_precision="bf16") if case.bf16 else dict(case.sets)
    if uri:
        sets["data_train_uri"] = uri
    return sets, first_weights(bench, case, sets), flat


def _timed(bench, case, sides, sets, weights, flat):
    """In turns."""
    steps = case.every * (WARM_UP + 4)
    found = {side: {"ms": [], "rss": []} for side in sides}
    for _ in range(bench.n):
        for side in found:
            sample = _run(bench, case, side, sets, weights, flat, steps, case.every)
            found[side]["ms"].append(sample["ms"])
            found[side]["rss"].append(sample["rss"])
        bench.say(f"  {case.name}: " + ", ".join(f"{side} {s['ms'][-1]:.2f} ms" for side, s in found.items()))
    return found


def first_weights(bench, case, sets):
    """Our weights before any update: a rate this small changes no bit of a float32."""
    still = dict(sets, train_steps=1, optimizer_lr="1e-30")
    if case.kind == "resnet":
        still |= {"optimizer_weightDecay": 0}
    with bench.ours(job=f"models/{case.job}", **still) as run:
        run.finish(DEADLINE)
    newest = bench.lockstep("checkpoint", "list", run.run_dir)[0]
    return f"{urlparse(newest['uri']).path}/model.safetensors"


def _run(bench, case, side, sets, weights, flat, steps, every):
    """Losses of all intervals, milliseconds of a step, and the memory of a rank in MB."""
    if side != "ours":
        more = ["--bf16"] if case.bf16 else []
        twin = bench.theirs(
            "--model", case.kind, "--options", case.options, "--steps", steps, "--every", every, "--batch", case.batch,
            "--weights", weights, "--variant", side, *more, data=flat, script="models.py", ranks=case.ranks,
        )
        with twin:
            intervals = twin.intervals(DEADLINE)
        times = [interval["seconds"] / every * 1e3 for interval in intervals]
        return {
            "losses": [interval["loss"] for interval in intervals],
            "ms": median(times[WARM_UP:]), "rss": intervals[-1]["rss_kib"] / 1024,
        }
    rss = 0.0
    run = bench.ours(job=f"models/{case.job}", train_steps=steps, log_every=f"{every} steps", **sets)
    with run:
        run.first_step()
        ranks = run.ranks()
        for _, text in run.lines(time.monotonic() + DEADLINE):
            if re.match(run.STEP, text):
                rss = max([rss, *(proc.peak_rss(pid) for pid in ranks if proc.lives(pid))])
        run.finish(DEADLINE)
    metrics = [metric for metric in bench.lockstep("metrics", run.run_dir) if metric["step"] % every == 0]
    times = [case.batch / metric["samples_per_second"] * 1e3 for metric in metrics]
    return {"losses": [metric["loss"] for metric in metrics], "ms": median(times[WARM_UP:]), "rss": rss}


def pictures(bench):
    """Pictures of noise in CIFAR's binary form, which both sides read: ours after `data pack`."""
    folder = bench.new_folder()
    (folder / "data_batch_1.bin").write_bytes(noise.records(256))
    with Child([bench.binaries / "lockstep", "data", "pack", folder, folder / "packed"]) as pack:
        pack.finish(DEADLINE)
    return folder / "packed", folder / "data_batch_1.bin"


def windows(bench):
    """Shakespeare as bare tokens, 400 windows of 128."""
    folder = bench.new_folder()
    shard = (digits.SHARDS.parents[2] / "datasets" / "shakespeare" / "train" / "tokens.00000.bin").read_bytes()
    (folder / "tokens").mkdir()
    (folder / "tokens" / "part.bin").write_bytes(shard[1024 : 1024 + 2 * (400 * 128 + 1)])
    return folder / "tokens", folder / "tokens" / "part.bin"
