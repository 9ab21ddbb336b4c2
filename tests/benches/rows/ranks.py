"""The time of a step at 1, 2 and 4 ranks, each a process with the same work."""

from harness.figures import Claim, Row, ratio, spread
from rows import models

RANKS = (1, 2, 4)


def measure(bench):
    claims, values = [], {}
    pictures, windows = models.pictures(bench), models.windows(bench)
    for kind, job, options, each, data in [
        ("resnet", "resnet.yaml", "[20,3,10]", 16, pictures),
        ("gpt", "gpt.yaml", "[4,4,128,128,256]", 2, windows),
    ]:
        for ranks in RANKS:
            case = models.Case(
                f"{kind} at {ranks}", kind, job, kind, options, each * ranks, 10, {"nodes": ranks, "train_globalBatch": each * ranks},
                {"fused": 1.0}, ranks=ranks,
            )
            found = models.times(bench, case, data, ["fused"])
            ours, theirs = found["ours"]["ms"], found["fused"]["ms"]
            times = ratio(theirs, ours)
            claims.append(Claim(
                f"{kind}, {each} samples a rank, {ranks} rank{'s' * (ranks > 1)}: step against fused", spread(ours, "ms"),
                spread(theirs, "ms"), f"{times:.2f}x", "≥ 1.0x", times >= 1.0,
            ))
            values |= {f"{case.name}, ours": ours, f"{case.name}, fused": theirs}
    return Row("ranks", claims, values, ["One compute thread a rank: four ranks share two cores"])
