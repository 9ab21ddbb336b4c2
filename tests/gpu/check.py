"""Checks Lockstep on this machine's GPU beside PyTorch: what is computed first, how fast second.

usage: python3 check.py [--out FOLDER] [--device cuda|cpu] [--budget SECONDS]

It needs Python 3 with PyTorch 2.11 and safetensors; no network, no compiler, and nothing outside its own folder. It writes
FOLDER/gpu-check.json and prints a table, in which every part has passed, failed or could not run. Without a GPU the parts that
need none run on the CPU. The exit code is 1 where a part failed.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlparse

import noise

HERE = Path(__file__).resolve().parent
STEPS = 20
# Of the loss at any step, relative: rounding differs between two programs, and training makes more of it with each step.
WITHIN = {"fp32": 1e-3, "bf16": 2e-2}


class Failed(Exception):
    """A part that ran, and found what it should not."""


class CouldNot(Exception):
    """A part that lacks something to run."""


class Check:
    """Where things are on this machine."""

    def __init__(self, device, folder, deadline):
        import torch

        self.device, self.folder, self.deadline = device, folder, deadline
        with tarfile.open(HERE / "programs.tar.xz") as programs:
            programs.extractall(folder, filter="data")
        self.target = folder / "target"
        self.env = dict(os.environ, NO_COLOR="1", XDG_CACHE_HOME=str(folder / "cache"), LOCKSTEP_PYTHON=sys.executable)
        # Workers find libtorch in PyTorch's own folder, its CUDA half too, and each library there finds NVIDIA's.
        self.env["LD_LIBRARY_PATH"] = str(Path(torch.__file__).parent / "lib")
        self.runs = 0

    def left(self):
        return self.deadline - time.monotonic()

    def new(self):
        self.runs += 1
        folder = self.folder / f"run-{self.runs}"
        folder.mkdir()
        return folder

    def run(self, command, limit):
        """A program to its end, with what it said; killed with all that it started when the time is over."""
        limit = min(limit, self.left())
        if limit <= 1:
            raise CouldNot("no time is left of the budget")
        process = subprocess.Popen([*map(str, command)], env=self.env, cwd=self.folder, text=True, start_new_session=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise Failed(f"{Path(str(command[0])).name} did not end within {limit:.0f} s: {err[-800:]}") from None
        return process.returncode, out, err

    def test(self, name, *arguments, limit=120):
        """A test program of the c10d crate."""
        code, out, err = self.run([self.target / "release/deps" / name, *arguments], limit)
        if code != 0:
            raise Failed((out + err)[-2000:])
        return re.search(r"\d+ passed", out)[0]

    def command(self, job, data, run, device=None, **sets):
        sets = {"nodes": 1, "data_train_uri": data, "device": device or self.device} | sets
        words = [self.target / "release/lockstep", "launch", "-f", HERE / "jobs" / f"{job}.yaml", "--local", "--run-dir", run]
        for name, value in sets.items():
            words += ["--set", f"{name.replace('_', '.')}={value}"]
        return words

    def train(self, job, data, run=None, limit=180, **sets):
        """A run to its end; its folder."""
        run = run or self.new() / "run"
        code, _, err = self.run(self.command(job, data, run, **sets), limit)
        if code != 0:
            raise Failed(f"launch of {job} ended with {code}: {err[-2000:]}")
        return run

    def ask(self, *words):
        code, out, err = self.run([self.target / "release/lockstep", *words, "-o", "json"], 30)
        if code != 0:
            raise Failed(err[-800:])
        return json.loads(out)

    def metrics(self, run):
        return [m for m in self.ask("metrics", run) if m.get("loss") is not None]

    def losses(self, run):
        return [m["loss"] for m in self.metrics(run)]

    def newest(self, run):
        return self.ask("checkpoint", "list", run)[0]

    def first_weights(self, job, data, **sets):
        """Ours before any update: a rate this small changes no bit of a float32."""
        still = {"train_steps": 1, "optimizer_lr": "1e-30", "optimizer_weightDecay": 0}
        run = self.train(job, data, **(sets | still))
        return Path(urlparse(self.newest(run)["uri"]).path) / "model.safetensors"

    def twin(self, limit=180, **config):
        path = self.new() / "twin.json"
        path.write_text(json.dumps({"device": self.device, "bf16": False, "compile": False, "lr": 1e-3, **config}))
        code, out, err = self.run([sys.executable, HERE / "twin.py", path], limit)
        if code != 0:
            raise Failed(err[-2000:])
        return json.loads(out)


def found(check):
    """What is on this machine."""
    import torch

    about = {"torch": torch.__version__, "python": sys.version.split()[0], "commit": (HERE / "commit").read_text().strip()}
    if check.device == "cuda":
        about |= {"gpu": torch.cuda.get_device_name(0), "gpus": torch.cuda.device_count(), "cuda": torch.version.cuda,
                  "nccl": ".".join(map(str, torch.cuda.nccl.version()))}
        driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], text=True,
                                capture_output=True, check=False)
        about["driver"] = driver.stdout.strip().split("\n")[0]
    return about


def gloo_contract(check):
    """Gloo's groups keep the contract, ranks as threads."""
    return {"tests": check.test("threads")}


def code_opens(check):
    """The library and libtorch's CUDA half open, and what is missing is named."""
    return {"tests": check.test("nccl")}


def nccl_contract(check):
    """NCCL's group keeps the contract, one rank on this GPU."""
    needs_gpu(check)
    return {"tests": check.test("nccl", "--ignored", "--exact", "one_rank_on_this_gpu_passes_the_conformance_suite", limit=180)}


def digits(check):
    """Digits are learned, and the losses are those of the CPU."""
    ours = check.train("digits", HERE / "data/digits", data_eval_uri=HERE / "data/digits")
    accuracy = check.ask("status", ours)["eval"]["accuracy"]
    if accuracy < 0.95:
        raise Failed(f"accuracy {accuracy} after 400 steps")
    cpu = check.train("digits", HERE / "data/digits", data_eval_uri=HERE / "data/digits", device="cpu", train_steps=STEPS)
    return {"accuracy": accuracy, "losses apart from CPU": apart(check.losses(ours)[:STEPS], check.losses(cpu), "fp32")}


def resnet_twin(check):
    """ResNet-20 learns as in PyTorch."""
    folder = check.new()
    (folder / "data_batch_1.bin").write_bytes(noise.records(256))
    packed = folder / "packed"
    code, _, err = check.run([check.target / "release/lockstep", "data", "pack", folder, packed], 60)
    if code != 0:
        raise Failed(err)
    flat = {"data": str(folder / "data_batch_1.bin"), "model": "resnet", "options": [20, 3, 10], "batch": 64, "lr": 0.01}
    return both_precisions(check, "resnet", packed, flat)


def gpt_twin(check):
    """A GPT of 0.8 M parameters learns as in PyTorch."""
    data, flat = tokens(check, 400 * 128 + 1)
    theirs = {"data": str(flat), "model": "gpt", "options": [4, 4, 128, 128, 256], "batch": 8, "window": 128}
    return both_precisions(check, "gpt", data, theirs)


def same_bytes(check):
    """A run that is killed and resumed ends with the bytes of one that was not."""
    data, _ = tokens(check, 400 * 128 + 1)
    sets = {"train_steps": 100, "reproducible": "fixed", "checkpoint_every": "20 steps"}
    hashes = [check.newest(check.train("gpt", data, **sets))["model_hash"] for _ in range(2)]
    if hashes[0] != hashes[1]:
        raise Failed("two undisturbed runs differ already")
    run = check.new() / "run"
    launch = subprocess.Popen([*map(str, check.command("gpt", data, run, **sets))], env=check.env, text=True,
                              stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    for line in launch.stderr:
        if re.search(r"checkpoint \d+ \(", line):
            break
    else:
        raise Failed(f"the run ended before it was killed, with {launch.wait()}")
    # The launcher's end takes its agents and workers along.
    os.killpg(launch.pid, signal.SIGKILL)
    launch.wait()
    check.train("gpt", data, run=run, **sets)
    lives = check.ask("status", run)["generation"]
    if lives < 2:
        raise Failed("it was not resumed")
    if check.newest(run)["model_hash"] != hashes[0]:
        raise Failed("the bytes differ after a kill")
    return {"steps": 100, "model_hash": hashes[0][:16]}


def other_device(check):
    """A checkpoint of one kind of device loads on the other."""
    needs_gpu(check)
    data, answer = HERE / "data/digits", {}
    for first, second in [("cuda", "cpu"), ("cpu", "cuda")]:
        sets = {"data_eval_uri": data}
        run = check.train("digits", data, device=first, train_steps=STEPS, **sets)
        check.train("digits", data, run=run, device=second, train_steps=2 * STEPS, **sets)
        whole = check.train("digits", data, device=second, train_steps=2 * STEPS, **sets)
        answer[f"{first} to {second}, losses apart"] = apart(check.losses(run)[-STEPS:], check.losses(whole)[-STEPS:], "fp32")
    return answer


def gpt2_figures(check):
    """GPT-2 of 124 M parameters in bf16, beside PyTorch eager and torch.compile."""
    needs_gpu(check)
    data, flat = tokens(check, 500_000)
    batch, window, steps, every = 32, 1024, 200, 20
    weights = check.first_weights("gpt2-124m", data)
    theirs = {"data": str(flat), "model": "gpt", "options": [12, 12, 768, 1024, 50257], "batch": batch, "window": window,
              "weights": str(weights), "bf16": True, "lr": 3e-4, "every": every}
    # One epoch has fewer steps than that; in the next ones the order is ours alone.
    compared = (500_000 - 1) // window // batch
    sides = {}
    ours = check.train("gpt2-124m", data, train_steps=compared)
    losses = check.losses(ours)
    rates = [m["samples_per_second"] * window for m in check.metrics(check.train(
        "gpt2-124m", data, train_steps=steps, log_every=f"{every} steps"))]
    sides["lockstep"] = {"tokens/s": round(median(rates[3:]))}
    for name, compiled in [("eager", False), ("compile", True)]:
        twin = check.twin(steps=steps, compile=compiled, **theirs)
        rate = batch * window * every / median(twin["seconds"][3:])
        sides[name] = {"tokens/s": round(rate), "losses apart": apart(losses, twin["losses"][:compared], "bf16")}
    answer = {f"{side}, {key}": value for side, figures in sides.items() for key, value in figures.items()}
    for name in ("eager", "compile"):
        answer[f"lockstep/{name}"] = round(sides["lockstep"]["tokens/s"] / sides[name]["tokens/s"], 3)
    return answer


def gpu_figures(check):
    """lockstep-gpu tells of the GPUs that nvidia-smi does, and a run counts its GPU-seconds."""
    needs_gpu(check)
    with subprocess.Popen([check.target / "release/lockstep-gpu"], stdout=subprocess.PIPE, text=True) as helper:
        line = json.loads(helper.stdout.readline())
        helper.kill()
    if "missing" in line:
        raise Failed(line["missing"])
    ours = sorted((gpu["uuid"], gpu["name"]) for gpu in line["gpus"])
    listed = subprocess.run(["nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader"], text=True, capture_output=True,
                            check=True).stdout
    theirs = sorted(tuple(row.split(", ", 1)) for row in listed.strip().split("\n"))
    if ours != theirs:
        raise Failed(f"lockstep-gpu tells of {ours}, nvidia-smi of {theirs}")
    seconds = check.ask("status", check.train("digits", HERE / "data/digits"))["gpu_seconds"]
    if not seconds:
        raise Failed(f"the run counted {seconds} GPU-seconds")
    return {"gpu_seconds": round(seconds, 1), "untold": [name for name, value in line["gpus"][0].items() if value is None]}


def tokens(check, count):
    """The first tokens of Shakespeare as a bare file, which both sides read."""
    folder = check.new() / "tokens"
    folder.mkdir()
    shard = (HERE / "data/shakespeare/train/tokens.00000.bin").read_bytes()
    (folder / "part.bin").write_bytes(shard[1024 : 1024 + 2 * count])
    return folder, folder / "part.bin"


def both_precisions(check, job, data, theirs):
    weights, answer = check.first_weights(job, data), {}
    for precision in WITHIN:
        ours = check.losses(check.train(job, data, train_steps=STEPS, train_precision=precision))
        twin = check.twin(weights=str(weights), steps=STEPS, every=STEPS, bf16=precision == "bf16", **theirs)
        answer[f"{precision}, losses apart"] = apart(ours, twin["losses"], precision)
    return answer


def apart(ours, theirs, precision):
    if len(ours) != len(theirs) or not ours:
        raise Failed(f"{len(ours)} losses beside {len(theirs)}")
    most = max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(ours, theirs, strict=True))
    if not most <= WITHIN[precision]:
        raise Failed(f"losses are {most:.1e} apart in {precision}, more than {WITHIN[precision]:.0e}: {ours} and {theirs}")
    return float(f"{most:.1e}")


def needs_gpu(check):
    if check.device != "cuda":
        raise CouldNot("no GPU")


PARTS = [found, gloo_contract, code_opens, nccl_contract, digits, resnet_twin, gpt_twin, same_bytes, other_device, gpt2_figures,
         gpu_figures]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path.cwd(), help="where gpu-check.json goes (default: here)")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="default: cuda where PyTorch sees a GPU")
    parser.add_argument("--budget", type=float, default=470, help="seconds for all parts (default: 470)")
    args = parser.parse_args()
    import torch

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    folder = Path(tempfile.mkdtemp(prefix="lockstep-gpu-check-"))
    results = []
    try:
        check = Check(device, folder, time.monotonic() + args.budget)
        for part in PARTS:
            since = time.monotonic()
            try:
                verdict, facts = "passed", part(check)
            except CouldNot as why:
                verdict, facts = "could not run", {"why": str(why)}
            except Exception as why:  # Whatever goes wrong in a part, the others are to be seen.
                verdict, facts = "failed", {"why": f"{type(why).__name__}: {why}" if not isinstance(why, Failed) else str(why)}
            seconds = round(time.monotonic() - since, 1)
            results.append({"part": part.__name__, "what": part.__doc__, "verdict": verdict, "seconds": seconds, **facts})
            shown = ", ".join(f"{key} {value}" for key, value in facts.items())
            print(f"{verdict:14} {seconds:6.1f} s  {part.__doc__}  {shown}", flush=True)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    args.out.mkdir(parents=True, exist_ok=True)
    report = {"device": device, "date": time.strftime("%Y-%m-%d"), "parts": results}
    (args.out / "gpu-check.json").write_text(json.dumps(report, indent=1) + "\n")
    counts = {verdict: sum(r["verdict"] == verdict for r in results) for verdict in ("passed", "failed", "could not run")}
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
