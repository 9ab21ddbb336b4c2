"""A thousand nodes rendered; two hundred nodes, which kwok plays, launched and looked at."""

import re
import shutil
import time
from collections import Counter
from statistics import median

from harness.children import Failed
from harness.cluster import DEADLINE, TESTS
from harness.figures import Claim, Row, spread
from harness.launch import JOB, Launch

RENDERED, LAUNCHED = 1000, 200
RENDER_REACH, STATUS_REACH = 0.2, 1.0
NOT_EACH = f"< {LAUNCHED}: not one for each node"
FAKE = "kwok.x-k8s.io/node"


def measure(cluster):
    renders = [_timed(lambda: cluster.lockstep("render", "-f", JOB, *_sets(RENDERED))) for _ in range(max(cluster.n, 3))]
    _record(cluster)
    cluster.run(TESTS / "cluster" / "fake-nodes.sh", "--name", cluster.name, "--running", LAUNCHED)
    try:
        users = [cluster.new_name("user") for _ in ("launch", "status")]
        started, statuses, noticed = _wide(cluster, *users)
    finally:
        cluster.kubectl("delete", "node", "--selector", f"{FAKE}=fake")
    asked, looked = map(cluster.requests, users)
    each = len(looked) / len(statuses)
    claims = [
        Claim(f"render of {RENDERED:,} nodes", spread(renders, "s", 3), "", "", f"< {RENDER_REACH} s", max(renders) < RENDER_REACH),
        Claim(f"launch of {LAUNCHED} nodes that kwok plays → all pods seen running", f"{started:.1f} s", "", "", "", None),
        Claim(f"`lockstep status` of {LAUNCHED} nodes", spread(statuses, "s"), "", "", f"< {STATUS_REACH:.0f} s",
              median(statuses) < STATUS_REACH),
        Claim(f"pod of {LAUNCHED} deleted → named by the launch", f"{noticed:.2f} s", "", "", f"< {STATUS_REACH:.0f} s",
              noticed < STATUS_REACH),
        Claim(f"requests of the launch of {LAUNCHED} nodes", f"{len(asked)}: {_counts(asked)}", "", "", NOT_EACH,
              0 < len(asked) < LAUNCHED),
        Claim(f"requests of one `status` of {LAUNCHED} nodes", f"{each:.0f}; of {len(statuses)}: {_counts(looked)}", "", "", NOT_EACH,
              0 < each < LAUNCHED),
    ]
    return Row("scale", claims, {"render": renders, "status": statuses}, [
        "The fake pods' logs are what a real agent wrote. Where pods come from is the cluster's own work: the Job controller "
        "and the scheduler of this machine"
    ])


def _counts(requests):
    return ", ".join(f"{count} {request}" for request, count in Counter(f"{v} {r}" for v, r, _ in requests).most_common())


def _sets(nodes):
    return ["--set", f"nodes={nodes}", "--set", f"train.globalBatch={nodes * 8}"]


def _timed(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _record(cluster):
    """What an agent writes, for the fake pods: the start of a real run's log."""
    with Launch(cluster, "recorded") as run:
        run.first_step()
        run.losses(500)
        logs = [*cluster.folder.glob(f"nodes/*/log/pods/*_{run.name}-0-*/agent/0.log")]
        if len(logs) != 1:
            raise Failed(f"{run.name}: node 0 should have one log, there are {logs}")
        shutil.copy(logs[0], cluster.folder / "fake-pods.log")


def _wide(cluster, launcher, looker):
    status = [cluster.binaries / "lockstep", "status"]
    looks = cluster.as_user(looker)
    sets = {"nodes": LAUNCHED, "train_globalBatch": LAUNCHED * 8}
    sets |= {"kubernetes_nodeSelector": f"{{{FAKE}: fake}}"}
    sets |= {"kubernetes_tolerations": f"[{{key: {FAKE}, operator: Exists, effect: NoSchedule}}]"}
    with Launch(cluster, "scale", cluster.as_user(launcher), **sets) as run:
        at, _ = run.wait_for(rf"started +{LAUNCHED} of {LAUNCHED} pods", DEADLINE)
        started = at - run.started
        statuses = [_timed(lambda: cluster.run(*status, run.name, env=looks)) for _ in range(max(cluster.n, 3))]
        pod = cluster.pods(run.name)[LAUNCHED // 2]["name"]
        asked = time.monotonic()
        cluster.kubectl("delete", "pod", pod, "--wait=false")
        at, _ = run.wait_for(re.escape(pod), DEADLINE)
        run.detach()
    return started, statuses, at - asked
