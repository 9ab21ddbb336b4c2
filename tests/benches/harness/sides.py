"""The two sides of every comparison, with the same few verbs: first_step, next_life, ranks."""

import json
import re
import shutil
import tempfile
import time
from pathlib import Path

from harness import digits
from harness.children import Child

BENCHES = Path(__file__).resolve().parents[1]
DEADLINE = 60.0


class Bench:
    """Where binaries and interpreter are, how often to measure, and a folder that is gone afterwards."""

    def __init__(self, binaries, python, n, quick, say):
        self.binaries, self.python = Path(binaries).resolve(), python
        self.n, self.quick, self.say = n, quick, say
        self.folder = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
        self.rows = list(digits.samples())
        self.flat = digits.write_flat(self.folder / "digits.bin", self.rows)
        self._runs = 0

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_folder(self):
        self._runs += 1
        folder = self.folder / str(self._runs)
        folder.mkdir()
        return folder

    def lockstep(self, *args):
        """The output of one of our commands as JSON."""
        with Child([self.binaries / "lockstep", *args, "--output", "json"]) as child:
            lines = [text for _, text in child.watch(DEADLINE)]
            child.finish(DEADLINE)
        return json.loads("\n".join(lines))

    def ours(self, job="digits.yaml", **sets):
        """`lockstep launch --local` of a job; `train_steps=5` is `--set train.steps=5`."""
        return Lockstep(self, job, sets)

    def theirs(self, *args, restarts=0, data=None, script="ddp.py", ranks=2):
        """torchrun with the twin."""
        return Torchrun(self, script, [*map(str, args), "--data", str(data or self.flat)], restarts, ranks)

    def peer(self, script):
        """Where a script of theirs is."""
        return BENCHES / "peers" / script


class Lockstep(Child):
    """A local launch on a folder and a cache of its own."""

    STEP = r"^\s*step (\d+)/"

    def __init__(self, bench, job, sets, run_dir=None):
        folder = bench.new_folder()
        self.run_dir = run_dir or folder / "run"
        command = [bench.binaries / "lockstep", "launch", "-f", BENCHES / job, "--local"]
        command += ["--run-dir", self.run_dir]
        for name, value in sets.items():
            command += ["--set", f"{name.replace('_', '.')}={value}"]
        super().__init__(command, {"LOCKSTEP_CACHE": str(folder / "cache"), "NO_COLOR": "1"})

    def first_step(self):
        """When the first step was seen to be done."""
        return self.wait_for(self.STEP, DEADLINE)[0]

    def next_life(self, seconds=DEADLINE):
        """When the first step of a new generation was seen to be done."""
        self.wait_for(r"\bgeneration \d+: ", seconds)
        return self.first_step()


class Torchrun(Child):
    """The twin under torchrun, on one node, which is what starts soonest."""

    def __init__(self, bench, script, args, restarts, ranks):
        self.life = 0
        command = [bench.python, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        # Without this a restarted rank may find its peer's address from before in torchrun's store, and fails once more.
        env = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"} if restarts else {}
        # It keeps folders there, which nobody removes after a SIGKILL.
        env["TMPDIR"] = str(bench.new_folder())
        super().__init__([*command, f"--max-restarts={restarts}", bench.peer(script), *args], env)

    def first_step(self):
        return self._step_of_life(0)

    def next_life(self):
        # One failure may take more than one restart.
        return self._step_of_life(self.life + 1)

    def _step_of_life(self, least):
        for at, text in self.lines(time.monotonic() + DEADLINE):
            if (found := re.match(r'{"restart": (\d+), ', text)) and int(found[1]) >= least:
                self.life = int(found[1])
                return at
        raise self.failure(f"no step of restart {least} or later within {DEADLINE:.0f} s")

    def intervals(self, seconds):
        """Everything that the twin prints until its end."""
        lines = [text for _, text in self.watch(seconds)]
        self.finish(seconds)
        return [json.loads(line) for line in lines if line.startswith('{"restart"')]

