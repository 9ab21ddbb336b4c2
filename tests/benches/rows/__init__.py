"""One file for each thing that is measured; each has `measure(bench) -> Row`."""

from rows import hang, kill, large, models, overhead, pictures, ranks, start, step

ALL = {"step": step, "models": models, "ranks": ranks, "pictures": pictures, "start": start, "large": large, "kill": kill, "hang": hang, "overhead": overhead}
