#!/usr/bin/env python3
"""Runs torchft's Lighthouse and one process for each replica group, on loopback, and starts a process anew as soon as it is gone.

usage: groups.py --heartbeat SECONDS --groups N --least N SCRIPT ARGS...

It stands in for a torchrun for each group, which looks at its workers ten times a second; this one sees an end at once.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def tether():
    """In the child: it ends with its parent (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def main():
    heartbeat, groups, least, command = float(sys.argv[2]), int(sys.argv[4]), sys.argv[6], sys.argv[7:]
    port = free_port()
    # It logs some twenty lines in each step otherwise.
    quiet = {**os.environ, "RUST_LOG": "error"}
    lighthouse = subprocess.Popen([
        # As torchft's README starts it, but for the address.
        Path(sys.executable).parent / "torchft_lighthouse", "--bind", f"127.0.0.1:{port}", "--min_replicas", least,
        "--quorum_tick_ms", "100", "--join_timeout_ms", "10000", "--heartbeat_timeout_ms", f"{heartbeat * 1e3:.0f}",
    ], env=quiet, preexec_fn=tether)

    def start(group):
        env = {"REPLICA_GROUP_ID": str(group), "NUM_REPLICA_GROUPS": str(groups), "LEAST_GROUPS": least}
        env |= {"TORCHFT_LIGHTHOUSE": f"http://127.0.0.1:{port}", "RANK": "0", "WORLD_SIZE": "1"}
        return subprocess.Popen([sys.executable, *command], env=quiet | env, preexec_fn=tether)

    running = {start(group).pid: group for group in range(groups)}
    while running:
        pid, status = os.wait()
        if pid == lighthouse.pid:
            sys.exit("groups.py: the Lighthouse is gone")
        group = running.pop(pid)
        if status:
            print(f"groups.py: group {group} ended with {status}; it starts anew", file=sys.stderr, flush=True)
            running[start(group).pid] = group
    lighthouse.kill()


if __name__ == "__main__":
    main()
