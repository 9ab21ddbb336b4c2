"""Draws the curves of an example and of its twin, and writes down how both ended.

usage: draw.py TITLE RUN.json TWIN.jsonl OUT.svg OUT.json

RUN.json is what `lockstep metrics RUN -o json` printed, TWIN.jsonl what the twin did.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402


def series(points, key):
    found = [(point["step"], point[key]) for point in points if point.get(key) is not None]
    return [step for step, _ in found], [value for _, value in found]


def main():
    title, ours, theirs, picture, summary = sys.argv[1:]
    ours = [metric | {f"eval_{k}": v for k, v in metric.get("eval", {}).items()} for metric in json.loads(Path(ours).read_text())]
    theirs = [json.loads(line) for line in Path(theirs).read_text().splitlines()]
    for point in theirs:
        if "accuracy" in point:
            point["eval_accuracy"] = point.pop("accuracy")
    keys = [key for key in ("loss", "eval_loss", "eval_accuracy") if any(key in point for point in theirs)]
    figure, places = plt.subplots(1, len(keys), figsize=(4 * len(keys), 3), layout="constrained")
    ends = {}
    for place, key in zip(places, keys, strict=True):
        for name, points, style in [("Lockstep, 2 ranks", ours, "-"), ("PyTorch", theirs, "--")]:
            steps, values = series(points, key)
            if not values:
                sys.exit(f"{name} says nothing of {key}")
            place.plot(steps, values, style, label=name, linewidth=1.2)
            ends.setdefault(key, {})[name] = round(values[-1], 4)
        place.set_title(key.replace("_", ", "), fontsize=9)
        place.set_xlabel("step", fontsize=8)
        place.tick_params(labelsize=8)
        place.grid(alpha=0.3)
    places[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    # The same curves are the same bytes.
    matplotlib.rcParams["svg.hashsalt"] = "lockstep"
    figure.savefig(picture, metadata={"Date": None})
    Path(summary).write_text(json.dumps({"title": title, "last": ends}, indent=1) + "\n")
    print(json.dumps(ends))


if __name__ == "__main__":
    main()
