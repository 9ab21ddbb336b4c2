"""The test cluster that the environment names: what runs on it, as the cluster and this machine know it."""

import json
import os
import subprocess
import time
from calendar import timegm
from pathlib import Path

from harness import proc
from harness.children import Failed

TESTS = Path(__file__).resolve().parents[2]
DEADLINE = 120.0


class Cluster:
    """Where the cluster and our programs are, how often to measure, and how long to watch."""

    def __init__(self, binaries, python, n, watch, say):
        self.binaries, self.python = Path(binaries).resolve(), python
        self.n, self.watch, self.say = n, watch, say
        try:
            self.parts = Path(os.environ["LOCKSTEP_CLUSTER_PARTS"])
            self.name = os.environ["LOCKSTEP_CLUSTER"]
            self.folder = Path(os.environ["LOCKSTEP_CLUSTER_HOME"]) / self.name
        except KeyError as missing:
            raise Failed(f"{missing.args[0]} is not set; tests/cluster/bench.sh starts a cluster and sets it") from None
        self._names = 0

    def new_name(self, kind):
        """No name is used twice: a name server remembers addresses for half a minute."""
        self._names += 1
        return f"{kind}-{os.getpid()}-{self._names}"

    def run(self, *command, text=None, env=None):
        """What a command prints; it must end well."""
        env = {**os.environ, **(env or {})}
        try:
            done = subprocess.run(
                list(map(str, command)), input=text, capture_output=True, text=True, timeout=DEADLINE, env=env)
        except subprocess.TimeoutExpired:
            raise Failed(f"{command}: no end within {DEADLINE:.0f} s") from None
        if done.returncode:
            raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout

    def kubectl(self, *words, text=None):
        return self.run(self.parts / "kubectl", *words, text=text)

    def lockstep(self, *words):
        return self.run(self.binaries / "lockstep", *words)

    def pods(self, job):
        """A Job's pods that run and are not told to leave, by index."""
        items = json.loads(self.kubectl("get", "pods", "-l", f"batch.kubernetes.io/job-name={job}", "-o", "json"))["items"]
        stay = [pod for pod in items if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"]
        return {int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]): pod["metadata"] for pod in stay}

    def ranks(self, job):
        """Process ids of a Job's training processes by rank, as this machine knows them."""
        uids = {form for pod in self.pods(job).values() for form in (pod["uid"], pod["uid"].replace("-", "_"))}
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (rank := proc.variable(entry.name, "RANK")) is not None:
                try:
                    group = (entry / "cgroup").read_text()
                except OSError:
                    continue
                if any(uid in group for uid in uids):
                    found[int(rank)] = int(entry.name)
        return found

    def delete_pod(self, job, index):
        """Deletes the pod of an index as a person would; when that was asked for."""
        name = self.pods(job)[index]["name"]
        at = time.time()
        self.kubectl("delete", "pod", name, "--wait=false")
        return at

    def no_pods(self):
        """Waits until nothing of an earlier sample is left."""
        self.kubectl("wait", "--for=delete", "pod", "--all", f"--timeout={DEADLINE - 10:.0f}s")

    def as_user(self, user):
        """The environment in which requests are made in another name, with the same rights, so that they can be counted."""
        own = (self.folder / "kubeconfig").read_text()
        anchor = "    client-certificate-data:"
        path = self.folder / f"{user}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(own.replace(anchor, f'    as: {user}\n    as-groups: ["system:masters"]\n{anchor}'))
        return {"KUBECONFIG": str(path)}

    def requests(self, user):
        """What the API server was asked in that name, in order: (verb, resource, seconds since the epoch when it was asked)."""
        log = self.folder / "log" / "audit.log"
        if not log.exists():
            raise Failed(f"{log} is not there; start the cluster with LOCKSTEP_CLUSTER_AUDIT=1")
        found = []
        for line in log.read_text().splitlines():
            event = json.loads(line)
            if event.get("impersonatedUser", {}).get("username") == user:
                what = event.get("objectRef", {})
                resource = "/".join(filter(None, (what.get("resource", event["requestURI"]), what.get("subresource"))))
                found.append((event["verb"], resource, seconds(event["requestReceivedTimestamp"])))
        return sorted(found, key=lambda request: request[2])


def seconds(stamp):
    """Seconds since the epoch of `2026-11-28T19:41:04.429760Z`, with whatever fraction it has."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")
