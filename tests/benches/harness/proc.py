"""What the kernel says about processes, from /proc and the processes' own CPU clocks."""

import os
import time

TICKS = os.sysconf("SC_CLK_TCK")


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def children(pid):
    tasks = os.listdir(f"/proc/{pid}/task") if os.path.isdir(f"/proc/{pid}/task") else []
    return [int(child) for task in tasks for child in _read(f"/proc/{pid}/task/{task}/children").split()]


def descendants(pid):
    """Parents before children."""
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def name(pid):
    """File name of the program that it runs."""
    return os.path.basename(_read(f"/proc/{pid}/cmdline").split("\0")[0])


def variable(pid, name):
    """A variable of the environment that it was started with; None where it has none."""
    pairs = (entry.split("=", 1) for entry in _read(f"/proc/{pid}/environ").split("\0") if "=" in entry)
    return dict(pairs).get(name)


def lives(pid):
    """False for a zombie too."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] not in ([], ["Z"])


def send(pid, signal):
    try:
        os.kill(pid, signal)
    except ProcessLookupError:
        pass


def cpu(pid):
    """CPU-seconds of a process so far, ended threads included, in nanosecond resolution (clock_getcpuclockid)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def threads_cpu(pid, thread_name):
    """CPU-seconds of the living threads of that name."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        if _read(f"/proc/{pid}/task/{task}/comm").strip() == thread_name:
            total += int(_read(f"/proc/{pid}/task/{task}/schedstat").split()[0])
    return total / 1e9


def age(pid):
    """Seconds since a process was started, as good as the kernel's tick (10 ms)."""
    started = int(_read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19]) / TICKS
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def peak_rss(pid):
    """VmHWM in MB (10^6 bytes)."""
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def machine_cpu():
    """CPU-seconds that the whole machine has used."""
    user, nice, system, _idle, _wait, irq, softirq = map(int, _read("/proc/stat").split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def busy(seconds):
    """Share of all cores that was in use by anyone during the next seconds."""
    def counters():
        fields = [int(field) for field in _read("/proc/stat").split("\n", 1)[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = counters()
    time.sleep(seconds)
    total_after, idle_after = counters()
    return 1.0 - (idle_after - idle) / max(1, total_after - total)
