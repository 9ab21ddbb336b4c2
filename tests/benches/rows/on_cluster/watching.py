"""What our commands cost while they watch a run: memory, and what they ask of the API server."""

import time
from collections import Counter

from harness import proc
from harness.children import Child
from harness.figures import Claim, Row
from harness.launch import Launch

MOST_MB = 50
# After that a command that watches has begun to.
BEGINNING = 15.0
# A list now and then begins a watch anew whose place in history the server has forgotten, which it does after 5 minutes.
MOST_A_MINUTE = 1.0


def measure(cluster):
    seconds = cluster.watch
    users = {name: cluster.new_name("user") for name in ("launch", "status --watch")}
    with Launch(cluster, "watched", cluster.as_user(users["launch"]), log_every="1000 steps") as run:
        run.first_step()
        status = [cluster.binaries / "lockstep", "status", run.name, "--watch"]
        began = time.time()
        with Child(status, cluster.as_user(users["status --watch"])) as watch:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                run.watch(min(left, 5.0))
                watch.watch(0.0)
            memory = {"launch": proc.peak_rss(run.pid), "status --watch": proc.peak_rss(watch.pid)}
            cpu = {"launch": proc.cpu(run.pid), "status --watch": proc.cpu(watch.pid)}
        run.detach()
    # A request is noted at its end, and theirs end with the processes.
    time.sleep(2.0)
    asked = {name: cluster.requests(user) for name, user in users.items()}
    return Row("watching", _claims(memory, cpu, asked, began, seconds), {"MB": list(memory.values())}, [
        f"Attached for {seconds:.0f} s to a run that logs every 1,000 steps, both at the same time; memory is VmHWM. Requests are "
        f"counted in the API server's audit log"
    ])


def _claims(memory, cpu, asked, began, seconds):
    claims = []
    for name, megabytes in memory.items():
        what = f"`lockstep {name}`, {seconds:.0f} s"
        claims.append(Claim(f"{what}: memory", f"{megabytes:.0f} MB, {cpu[name]:.2f} CPU-seconds", "", "", f"< {MOST_MB} MB",
                            megabytes < MOST_MB))
        counts = Counter(f"{verb} {resource}" for verb, resource, _ in asked[name])
        others = [verb for verb, _, at in asked[name] if at > began + BEGINNING and verb != "watch"]
        a_minute = len(others) / seconds * 60
        shown = ", ".join(f"{count} {request}" for request, count in counts.most_common())
        claims.append(Claim(f"{what}: requests", f"{len(asked[name])}: {shown}", "",
                            f"{len(others)} after the first {BEGINNING:.0f} s that are no watches",
                            f"watches only (≤ {MOST_A_MINUTE:.0f} other a minute)", bool(asked[name]) and a_minute <= MOST_A_MINUTE))
    return claims
