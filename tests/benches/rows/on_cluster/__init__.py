"""One file for each thing that is measured on a cluster; each has `measure(cluster) -> Row`."""

from rows.on_cluster import delete, kill, scale, start, stop, watching

ALL = {"start": start, "kill": kill, "stop": stop, "delete": delete, "watching": watching, "scale": scale}
