"""Times that a run of ours wrote down."""

import re
from datetime import datetime

from harness.children import Child

DEADLINE = 60.0


def newcomers(bench, run):
    """When the last new process of each generation had its orders, in seconds since 1970: its first line at `log.level: debug`."""
    found = {}
    with Child([bench.binaries / "lockstep", "logs", run.run_dir]) as logs:
        for _, text in logs.watch(DEADLINE):
            if line := re.search(r"\] (\S+Z) DEBUG started .*generation=(\d+)", text):
                generation = int(line[2])
                found[generation] = max(found.get(generation, 0.0), moment(line[1]))
    return found


def moment(text):
    """Seconds since 1970. Python knows no nanoseconds."""
    whole, part = text.rstrip("Z").split(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{part}")
