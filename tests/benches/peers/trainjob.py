"""The peer on a cluster: the PyTorch twin as a TrainJob of Kubeflow Trainer, which makes a JobSet of it."""

import re
import time

from harness.children import Failed
from harness.cluster import DEADLINE, seconds

MANIFEST = """
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata: {name: NAME}
spec:
  runtimeRef: {name: torch-distributed}
  trainer:
    numNodes: 2
    numProcPerNode: 1
    command: [python3, -m, torch.distributed.run, /app/train.py, --steps, "100000000"]
    env: [{name: OMP_NUM_THREADS, value: "1"}]
    resourcesPerNode: {requests: {cpu: 500m, memory: 1Gi}}
"""
STEP = re.compile(r"^(\S+) stdout F step (\d+)/\d+ loss ([0-9.]+)", re.MULTILINE)


class TrainJob:
    """The same verbs as our side's. Its lines are read where the kubelet puts them, with the time at which they were written."""

    def __init__(self, cluster, kind):
        self.cluster, self.name = cluster, cluster.new_name(kind)
        self.started = time.time()
        cluster.kubectl("apply", "-f", "-", text=MANIFEST.replace("NAME", self.name))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cluster.kubectl("delete", "trainjob", self.name, "--wait=true")
        # Torchrun takes its grace period to end; nobody waits for its last words.
        self.cluster.kubectl("delete", "pod", "--all", "--grace-period=0", "--force")
        self.cluster.no_pods()

    @property
    def job(self):
        return f"{self.name}-node-0"

    def first_step(self):
        return self.next_life(self.started)[0]

    def next_life(self, since, patience=DEADLINE):
        """Seconds from then to the first step of new processes, and what they began with: the twin keeps no checkpoints."""
        until = time.time() + patience
        while time.time() < until:
            for at, step, _ in self._steps():
                if at > since and step == 1:
                    return at - since, "step 0"
            time.sleep(0.05)
        raise Failed(f"{self.name}: no first step within {patience:.0f} s; it said\n  {self._said()[-2000:]}")

    def steps_after(self, since):
        """Whether any step was reported after then."""
        return any(at > since for at, *_ in self._steps())

    def losses(self, steps):
        until = time.time() + DEADLINE
        while time.time() < until:
            found = {step: loss for _, step, loss in self._steps() if step % 100 == 0 and step <= steps}
            if steps in found:
                return found
            time.sleep(0.05)
        raise Failed(f"{self.name}: step {steps} was not reached within {DEADLINE:.0f} s")

    def steady(self):
        self.losses(500)
        self.settle()

    def settle(self):
        time.sleep(2.0)

    def _steps(self):
        return [(seconds(line[1]), int(line[2]), float(line[3])) for line in STEP.finditer(self._said())]

    def _said(self):
        """What rank 0 printed, all of its containers and pods that are still there."""
        text = []
        for log in sorted(self.cluster.folder.glob(f"nodes/*/log/pods/*_{self.job}-0-*/node/*.log")):
            try:
                text.append(log.read_text(errors="replace"))
            except OSError:
                pass  # its pod has just been taken away
        return "".join(text)
