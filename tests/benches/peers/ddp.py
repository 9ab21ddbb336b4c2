"""The PyTorch twin of digits.yaml: the same network, optimizer, batch and data, with DistributedDataParallel over Gloo.

Started by torchrun. Rank 0 prints one JSON line for each interval of steps. It holds all data in memory as tensors, so
no data loader slows it down.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "on-cluster" / "python"))
from twin import Digits, batches, samples  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, help="each sample: one byte of label, 64 of pixels")
    parser.add_argument("--batch", type=int, default=64, help="samples of a step, over all ranks")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--every", type=int, default=1, help="steps between two lines")
    parser.add_argument("--weights", help="safetensors file with the first weights")
    parser.add_argument("--fused", action="store_true", help="fused AdamW, gradients as views of the buckets")
    return parser.parse_args()


def main():
    args = arguments()
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    data = samples(args.data)
    torch.manual_seed(0)
    model = Digits()
    if args.weights:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(args.weights))
    ddp = DistributedDataParallel(model, gradient_as_bucket_view=args.fused)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=args.fused or None)

    losses, since, cpu = 0.0, time.perf_counter(), time.process_time()
    source = batches(data, args.batch, rank, world)
    for step in range(1, args.steps + 1):
        pixels, labels = next(source)
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(ddp(pixels), labels)
        loss.backward()
        optimizer.step()
        losses += loss.detach()
        if step % args.every == 0:
            # The mean over the ranks, as our side reports it.
            mean = losses / (args.every * world)
            dist.all_reduce(mean)
            if rank == 0:
                now, used = time.perf_counter(), time.process_time()
                line = {"restart": int(os.environ["TORCHELASTIC_RESTART_COUNT"]), "step": step, "loss": mean.item()}
                line |= {"seconds": now - since, "cpu_seconds": used - cpu}
                print(json.dumps(line), flush=True)
            losses, since, cpu = 0.0, time.perf_counter(), time.process_time()
    # Tearing a finished group down is no part of any figure.
    dist.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
