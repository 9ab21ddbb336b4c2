"""Results as a page for people and as JSON for scripts."""

import json
from dataclasses import asdict

# With more than this in use by others, figures of time say little.
NOISY = 0.20


def page(command, facts, rows, peer="PyTorch"):
    lines = ["# Figures", "", f"`{command}`", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    if (most := max(row.busy for row in rows)) > NOISY:
        lines += ["", f"**The machine was not quiet: other work used up to {most:.0%} of the cores. Take the times again.**"]
    lines += ["", "Both sides in one run, in turns; median [least..greatest].", ""]
    lines += table(rows, peer)
    lines += ["", "## Notes", ""]
    for row in rows:
        busy = f"Right before, other work used {row.busy:.0%} of the cores"
        lines += [f"- **{row.name}**: {'. '.join([*row.notes, busy])}."]
    return "\n".join(lines) + "\n"


def table(rows, peer="PyTorch"):
    lines = [f"| what | Lockstep | {peer} | result | reach | verdict |", "|---|---|---|---|---|---|"]
    for claim in (claim for row in rows for claim in row.claims):
        cells = [claim.what, claim.ours, claim.theirs, claim.result, claim.reach, claim.verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def data(command, facts, rows):
    return json.dumps({"command": command, "facts": facts, "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
