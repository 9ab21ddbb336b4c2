"""One child process with its descendants: what it prints, when, and a sure end."""

import os
import queue
import re
import signal
import subprocess
import threading
import time

from harness import proc

END_DEADLINE = 20.0


class Failed(Exception):
    """A child did not do what it is there for; the message holds what it said last."""


class Child:
    """Reads a child's output line by line, each with the time of its arrival. Use it in a `with` block."""

    def __init__(self, command, env=None):
        self.command = command
        self.tail = []
        self._lines = queue.SimpleQueue()
        self.started = time.monotonic()
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            start_new_session=True,
        )
        self.pid = self._popen.pid
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._popen.stdout:
            self._lines.put((time.monotonic(), line.decode(errors="replace").rstrip()))
        self._lines.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def lines(self, until):
        """Lines as they come, as (time, text), until the stream ends or the monotonic clock says `until`."""
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if line is None:
                # Whoever asks again gets the same answer.
                self._lines.put(None)
                return
            self.tail = self.tail[-30:] + [line[1]]
            yield line

    def wait_for(self, pattern, seconds):
        """The next line that matches, as (time, match)."""
        for at, text in self.lines(time.monotonic() + seconds):
            if found := re.search(pattern, text):
                return at, found
        raise self.failure(f"no line like «{pattern}» within {seconds:.0f} s")

    def watch(self, seconds):
        """Lets it work for a while; the lines that it printed meanwhile."""
        return list(self.lines(time.monotonic() + seconds))

    def failure(self, what):
        said = "\n  ".join(self.tail) or "nothing"
        return Failed(f"{' '.join(map(str, self.command))}: {what}; it said\n  {said}")

    def finish(self, seconds):
        """Waits for a good end."""
        self.watch(seconds)
        try:
            code = self._popen.wait(timeout=5)
        except subprocess.TimeoutExpired:
            raise self.failure(f"no end within {seconds:.0f} s") from None
        if code != 0:
            raise self.failure(f"exit code {code}")

    def ranks(self):
        """Process ids of the training processes, by rank: those that carry the variable."""
        found = {}
        for pid in proc.descendants(self.pid):
            if (rank := proc.variable(pid, "RANK")) is not None:
                found.setdefault(int(rank), pid)
        return [found[rank] for rank in sorted(found)]

    def keepers(self):
        """Process ids of all others: launcher and agents."""
        ranks = set(self.ranks())
        return [pid for pid in (self.pid, *proc.descendants(self.pid)) if pid not in ranks]

    def kill(self):
        """Ends it and everything that it started, by process id."""
        family = [self.pid, *proc.descendants(self.pid)] if self._popen.poll() is None else []
        # A parent first, so that it starts nothing anew; those that are reaped meanwhile are gone anyway.
        for pid in family:
            proc.send(pid, signal.SIGKILL)
        deadline = time.monotonic() + END_DEADLINE
        self._popen.wait(timeout=END_DEADLINE)
        while any(proc.lives(pid) for pid in family) and time.monotonic() < deadline:
            time.sleep(0.005)
        if left := [pid for pid in family if proc.lives(pid)]:
            raise Failed(f"{self.command[0]}: processes {left} outlived SIGKILL")
