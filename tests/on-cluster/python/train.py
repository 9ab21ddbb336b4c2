"""Trains the digits network with PyTorch's DistributedDataParallel over Gloo, in no way aware of who started it.

It keeps to torchrun's environment contract (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), so torchrun, a Job with these
variables, and `lockstep launch` with `command: [python3, /app/train.py]` all run it. Rank 0 prints the mean loss of each
interval of steps.
"""

import argparse
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from twin import Digits, batches, samples


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).with_name("digits.bin"),
                        help="each sample: one byte of label, 64 of pixels (default: digits.bin beside this file)")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=64, help="samples of a step, over all ranks")
    parser.add_argument("--every", type=int, default=100, help="steps between two lines; the first step has its own")
    return parser.parse_args()


def main():
    args = arguments()
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    data = samples(args.data)
    torch.manual_seed(0)
    model = DistributedDataParallel(Digits())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    source = batches(data, args.batch, rank, world)
    losses, since = torch.zeros(()), 0
    for step in range(1, args.steps + 1):
        pixels, labels = next(source)
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(pixels), labels)
        loss.backward()
        optimizer.step()
        losses += loss.detach()
        if step in (1, args.steps) or step % args.every == 0:
            mean = losses / ((step - since) * world)
            dist.all_reduce(mean)
            if rank == 0:
                print(f"step {step}/{args.steps} loss {mean.item():.4f}", flush=True)
            losses, since = torch.zeros(()), step
    if rank == 0:
        print("done", flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
