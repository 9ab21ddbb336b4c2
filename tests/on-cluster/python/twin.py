"""The digits network in PyTorch, the twin of digits.yaml, and the order in which it sees its samples."""

from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 128), nn.Linear(128, 10)])

    def forward(self, pixels):
        x = F.layer_norm(pixels.float(), (64,))
        return self.layers[1](F.relu(self.layers[0](x)))


def samples(path):
    """All samples of a file: each is one byte of label and 64 of pixels."""
    return torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8).view(-1, 65)


def batches(data, size, rank, world):
    """This rank's part of each batch, for ever; an epoch's order is the same on all ranks."""
    generator = torch.Generator().manual_seed(0)
    share = size // world
    while True:
        order = torch.randperm(len(data), generator=generator)
        for begin in range(0, len(data) - size + 1, size):
            rows = data[order[begin + rank * share : begin + (rank + 1) * share]]
            yield rows[:, 1:], rows[:, 0].long()
