"""Pictures read ahead of training: decoded, cut, resized, mirrored, in CPU time."""

import json
import resource
import subprocess

from harness.children import Child
from harness.figures import Claim, Row, ratio, spread

PICTURES, EPOCHS, WIDTH, HEIGHT = 200, 10, 500, 375
DEADLINE = 300.0
# Smooth, with some grain, about as large as a photograph of this size.
MAKE = """
import sys, numpy as np
from pathlib import Path
from PIL import Image
folder, count, width, height = Path(sys.argv[1]), *map(int, sys.argv[2:])
chance = np.random.default_rng(0)
for number in range(count):
    coarse = Image.fromarray(chance.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = chance.normal(0, 6, smooth.shape).astype(np.int16)
    to = folder / f"class{number % 4}"
    to.mkdir(exist_ok=True)
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(to / f"{number}.jpg", quality=90)
"""


def measure(bench):
    folder = bench.new_folder()
    jpegs = folder / "jpegs"
    jpegs.mkdir()
    subprocess.run([bench.python, "-c", MAKE, *map(str, (jpegs, PICTURES, WIDTH, HEIGHT))], check=True)
    size = sum(file.stat().st_size for file in jpegs.rglob("*.jpg")) / PICTURES / 1024
    with Child([bench.binaries / "lockstep", "data", "pack", jpegs, folder / "packed"]) as pack:
        pack.finish(DEADLINE)
    values = {"ours": [], "theirs": []}
    for _ in range(bench.n):
        values["ours"].append(_ours(bench, folder))
        values["theirs"].append(_theirs(bench, jpegs))
        bench.say(f"  {values['ours'][-1]:.0f} pictures a CPU-second, torchvision {values['theirs'][-1]:.0f}")
    times = ratio(values["ours"], values["theirs"])
    claim = Claim(
        f"jpegs of {WIDTH} x {HEIGHT}, {size:.0f} KiB, to a random part of 224 x 224, per CPU-second",
        spread(values["ours"], "pictures", 0), spread(values["theirs"], "pictures", 0), f"{times:.2f}x", "≥ 1.3x", times >= 1.3,
    )
    return Row("pictures", [claim], values, [
        "Our figure has the start of a process and the filling of the cache in it; theirs, which reads in the training process "
        "itself, has neither."
    ])


def _ours(bench, folder):
    program = bench.binaries.parent / "release" / "examples" / "read-pictures"
    before = _cpu()
    told = subprocess.run(
        [program, folder / "packed", "train", str(EPOCHS), bench.new_folder()], check=True, capture_output=True, timeout=DEADLINE,
    )
    return json.loads(told.stdout)["samples"] / (_cpu() - before)


def _theirs(bench, jpegs):
    script = [bench.python, bench.peer("pictures.py"), jpegs, str(EPOCHS)]
    told = json.loads(subprocess.run(script, check=True, capture_output=True, timeout=DEADLINE).stdout)
    return told["samples"] / told["cpu"]


def _cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
