"""One network trained in PyTorch on one device, as its users would write it; for check.py.

usage: twin.py CONFIG

CONFIG is a JSON file. Prints one JSON object: the loss of each step, and for each interval of steps how long it took.
"""

import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from pytorch_twin import CifarResnet, Gpt2, fit, hasten


def samples(config):
    """Inputs and labels of all samples, in the order in which they are stored."""
    raw = torch.frombuffer(bytearray(Path(config["data"]).read_bytes()), dtype=torch.uint8)
    if config["model"] == "resnet":
        rows = raw.view(-1, 3073)
        # Multiplied, as our side does it: a division rounds differently.
        return rows[:, 1:].view(-1, 3, 32, 32).float() * torch.tensor(1 / 255), rows[:, 0].long()
    window = config["window"]
    windows = raw.view(torch.int16).long().unfold(0, window + 1, window)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def main():
    config = json.loads(Path(sys.argv[1]).read_text())
    # As many as the job has, so that sums on CPUs are the same.
    torch.set_num_threads(1)
    device, batch = config["device"], config["batch"]
    inputs, labels = (t.to(device) for t in samples(config))
    model = {"resnet": CifarResnet, "gpt": Gpt2}[config["model"]](*config["options"])
    hasten(model)
    weights = load_file(config["weights"])
    model.load_state_dict({k: fit(v, weights[k]) for k, v in model.state_dict().items() if k in weights}, strict=False)
    model.to(device)
    network = torch.compile(model) if config["compile"] else model
    if config["model"] == "resnet":
        rule = {"lr": config["lr"], "momentum": 0.9, "weight_decay": 1e-4, "fused": True}
        optimizer = torch.optim.SGD(model.parameters(), **rule)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"], weight_decay=0.01, fused=True)

    losses, seconds, place = [], [], 0
    since = time.perf_counter()
    for step in range(1, config["steps"] + 1):
        if place + batch > len(labels):
            place = 0
        x, y = inputs[place : place + batch], labels[place : place + batch]
        place += batch
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=config["bf16"]):
            loss = F.cross_entropy(network(x).flatten(0, -2), y.flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if step % config["every"] == 0:
            wait(device)
            now = time.perf_counter()
            seconds.append(now - since)
            since = now
    print(json.dumps({"losses": [loss.item() for loss in losses], "seconds": seconds}))


if __name__ == "__main__":
    main()
