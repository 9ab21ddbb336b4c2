"""What trainer/examples/cifar-resnet20.yaml says, in PyTorch: the same data, network, augmentation, optimizer and schedule, with
chance of its own.

usage: cifar.py DATASET

Prints a JSON line for each epoch.
"""

import json
import math
import sys

import torch
import torch.nn.functional as F
from pytorch_twin import CifarResnet
from samples import pictures

EPOCHS, BATCH, RANKS, LR, WARMUP = 30, 128, 2, 0.1, 0.05
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]))


def normal(images):
    return (images.float() / 255 - MEAN) / STD


def augmented(images):
    """Moved by up to 4 pixels over black, and every second one mirrored."""
    padded = F.pad(images, (4, 4, 4, 4))
    rows, columns = torch.randint(0, 9, (2, len(images))).tolist()
    images = torch.stack([p[:, r : r + 32, c : c + 32] for p, r, c in zip(padded, rows, columns)])
    mirrored = torch.rand(len(images)) < 0.5
    images[mirrored] = images[mirrored].flip(-1)
    return images


def main():
    torch.manual_seed(0)
    folder = sys.argv[1]
    (x, y), (x_test, y_test) = pictures(f"{folder}/train"), pictures(f"{folder}/test")
    x_test = normal(x_test)
    model = CifarResnet(20, 3, 10)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4, nesterov=True)
    per_epoch = len(x) // BATCH
    total = EPOCHS * per_epoch
    warmup, step = round(total * WARMUP), 0
    for _ in range(EPOCHS):
        model.train()
        losses = []
        for batch in torch.randperm(len(x)).split(BATCH)[:per_epoch]:
            step += 1
            share = (step - warmup) / (total - warmup)
            optimizer.param_groups[0]["lr"] = LR * (step / warmup if step <= warmup else (1 + math.cos(math.pi * share)) / 2)
            optimizer.zero_grad()
            # Each rank normalises by the statistics of its own half.
            halves = zip(normal(augmented(x[batch])).chunk(RANKS), y[batch].chunk(RANKS))
            loss = sum(F.cross_entropy(model(images), labels) for images, labels in halves) / RANKS
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(part) for part in x_test.split(500)])
        accuracy = (logits.argmax(1) == y_test).float().mean().item()
        line = {"step": step, "loss": sum(losses) / len(losses), "accuracy": accuracy}
        print(json.dumps(line | {"eval_loss": F.cross_entropy(logits, y_test).item()}), flush=True)


if __name__ == "__main__":
    main()
