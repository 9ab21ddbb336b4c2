"""One file for each thing that is measured; each has `measure(bench) -> Row`."""

from rows import hang, kill, overhead, start, step

ALL = {"step": step, "start": start, "kill": kill, "hang": hang, "overhead": overhead}
