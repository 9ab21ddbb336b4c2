"""What a start costs on this cluster at least: an Indexed Job of the same image that does nothing."""

import time

from harness.children import Child
from harness.cluster import DEADLINE

MANIFEST = """
apiVersion: batch/v1
kind: Job
metadata: {name: NAME}
spec:
  completions: 2
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      containers:
      - {name: agent, image: 'lockstep:test', imagePullPolicy: Never, command: [lockstep-agent, --help]}
"""


def start(cluster):
    """Seconds from `kubectl create` to both pods running."""
    name = cluster.new_name("bare")
    columns = "custom-columns=:metadata.name,:status.phase"
    command = ["get", "pods", "-l", f"job-name={name}", "--watch", "--no-headers", "-o", columns]
    try:
        with Child([cluster.parts / "kubectl", *command]) as watch:
            watch.watch(1.0)  # until it is on its way; not measured
            began, started = time.monotonic(), set()
            cluster.kubectl("create", "-f", "-", text=MANIFEST.replace("NAME", name))
            for at, line in watch.lines(began + DEADLINE):
                pod, phase, *_ = line.split()
                # A container that ran and ended so soon that nobody saw it run has started too.
                if phase in ("Running", "Succeeded", "Failed"):
                    started.add(pod)
                if len(started) == 2:
                    return at - began
            raise watch.failure(f"two pods did not start within {DEADLINE:.0f} s")
    finally:
        cluster.kubectl("delete", "job", name, "--ignore-not-found")
        cluster.no_pods()
