"""One file for each thing that is measured; each has `measure(bench) -> Row`."""

from rows import hang, kill, models, overhead, start, step

ALL = {"step": step, "models": models, "start": start, "kill": kill, "hang": hang, "overhead": overhead}
