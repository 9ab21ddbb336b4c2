"""Our side on a cluster: `lockstep launch`, whose lines come when a user would read them."""

import re
import signal
import time

from harness import proc
from harness.children import Child
from harness.cluster import DEADLINE, TESTS

JOB = TESTS / "benches" / "digits-cluster.yaml"


class Launch(Child):
    """A launch that stays attached. At the end of its `with` block the run's objects are gone too."""

    STEP = r"^\s*step (\d+)/\d+ .*\bloss ([0-9.]+)"

    def __init__(self, cluster, kind, env=None, job=JOB, **sets):
        """`train_steps=5` is `--set train.steps=5`."""
        self.cluster, self.name = cluster, cluster.new_name(kind)
        command = [cluster.binaries / "lockstep", "launch", "-f", job, "--set", f"name={self.name}"]
        for name, value in sets.items():
            command += ["--set", f"{name.replace('_', '.')}={value}"]
        super().__init__(command, {"NO_COLOR": "1", **(env or {})})

    @property
    def job(self):
        return self.name

    def first_step(self):
        """Seconds from the command to the first step."""
        return self.wait_for(r"first step [0-9.]+ s after launch", DEADLINE)[0] - self.started

    def next_life(self, since):
        """Seconds from then (as time.time() says it) to a step of a new generation, and what that one began with."""
        _, formed = self.wait_for(r"^\s*formed .*?from (step 0|checkpoint \d+)", DEADLINE)
        at, _ = self.wait_for(self.STEP, DEADLINE)
        return at - time.monotonic() + time.time() - since, formed[1]

    def losses(self, steps):
        """Mean loss of each interval of 100 steps, up to that step."""
        found = {}
        while max(found, default=0) < steps:
            _, line = self.wait_for(self.STEP, DEADLINE)
            found[int(line[1])] = float(line[2])
        return {step: loss for step, loss in found.items() if step % 100 == 0 and step <= steps}

    def steady(self):
        """Lets it train until there is a checkpoint to carry on from."""
        self.wait_for(r"\bcheckpoint \d+ \(", DEADLINE)
        self.settle()

    def settle(self):
        """Time between two faults."""
        self.watch(2.0)

    def detach(self):
        proc.send(self.pid, signal.SIGINT)
        self.watch(3.0)

    def __exit__(self, *_):
        self.kill()
        self.cluster.lockstep("delete", self.name)
        self.cluster.no_pods()
