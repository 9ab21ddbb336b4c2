"""The PyTorch twins of the jobs in models/: the same networks, optimizers, batches and data, with DDP over Gloo.

Started by torchrun. Rank 0 prints one JSON line for each interval of steps. All data is in memory as tensors.
"""

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "trainer" / "tests"))
from pytorch_twin import CifarResnet, Gpt2, Mlp, fit, hasten  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["mlp", "resnet", "gpt"], required=True)
    parser.add_argument("--options", type=json.loads, required=True, help="what the network is built from")
    parser.add_argument("--data", required=True)
    parser.add_argument("--batch", type=int, required=True, help="samples of a step, over all ranks")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--every", type=int, default=1, help="steps between two lines")
    parser.add_argument("--weights", help="safetensors file with the first weights (default: PyTorch's own)")
    parser.add_argument("--variant", choices=["default", "fused", "compile"], default="default")
    parser.add_argument("--bf16", action="store_true")
    return parser.parse_args()


def samples(kind, path):
    """Inputs and labels of all samples, in the order in which they are stored."""
    raw = torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8)
    if kind == "mlp":
        rows = raw.view(-1, 65)
        return rows[:, 1:].float(), rows[:, 0].long()
    if kind == "resnet":
        rows = raw.view(-1, 3073)
        # Multiplied, as our side does it: a division rounds differently.
        return rows[:, 1:].view(-1, 3, 32, 32).float() * torch.tensor(1 / 255), rows[:, 0].long()
    tokens = raw.view(torch.int16).long()
    windows = tokens.unfold(0, 129, 128)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def main():
    args = arguments()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    inputs, labels = samples(args.model, args.data)
    networks = {"mlp": Mlp, "resnet": CifarResnet, "gpt": Gpt2}
    model = networks[args.model](*args.options)
    hasten(model)
    weights = load_file(args.weights) if args.weights else {}
    model.load_state_dict({k: fit(v, weights[k]) for k, v in model.state_dict().items() if k in weights}, strict=False)
    fused = args.variant != "default"
    ddp = DistributedDataParallel(model, gradient_as_bucket_view=fused, broadcast_buffers=False)
    network = torch.compile(ddp) if args.variant == "compile" else ddp
    if args.model == "resnet":
        rule = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "fused": fused or None}
        optimizer = torch.optim.SGD(model.parameters(), **rule)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=fused or None)

    rows, place = args.batch // world, 0
    losses, since = 0.0, time.perf_counter()
    for step in range(1, args.steps + 1):
        if place + args.batch > len(labels):
            place = 0
        mine = slice(place + rank * rows, place + (rank + 1) * rows)
        place += args.batch
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = F.cross_entropy(network(inputs[mine]).flatten(0, -2), labels[mine].flatten())
        loss.backward()
        optimizer.step()
        losses += loss.detach().float()
        if step % args.every == 0:
            mean = losses / (args.every * world)
            dist.all_reduce(mean)
            if rank == 0:
                now = time.perf_counter()
                line = {"restart": int(os.environ["TORCHELASTIC_RESTART_COUNT"]), "step": step, "loss": mean.item()}
                line |= {"seconds": now - since, "rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
                print(json.dumps(line), flush=True)
            losses, since = 0.0, time.perf_counter()
    dist.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
