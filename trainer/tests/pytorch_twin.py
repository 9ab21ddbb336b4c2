"""The same training in PyTorch: DistributedDataParallel over Gloo, one process a rank.

usage: pytorch_twin.py FOLDER

FOLDER holds twin.json (what to do), initial.safetensors and final.safetensors (written by Lockstep) and
batches.safetensors. Prints one JSON object: the mean loss of each step, and the largest difference between the final
parameters of the two.
"""

import json
import os
import socket
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn.parallel import DistributedDataParallel


class Mlp(torch.nn.Module):
    def __init__(self, widths):
        super().__init__()
        pairs = zip(widths, widths[1:])
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in pairs)

    def forward(self, x, label):
        x = F.layer_norm(x.float(), x.shape[1:])
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return F.cross_entropy(self.layers[-1](x), label)


class Linear(torch.nn.Linear):
    """Its weight lies transposed, as GPT-2's."""

    def __init__(self, inputs, outputs):
        super().__init__(outputs, inputs)
        self.bias = torch.nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


class Block(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.attn = torch.nn.ModuleDict({"c_attn": Linear(width, 3 * width), "c_proj": Linear(width, width)})
        self.mlp = torch.nn.ModuleDict({"c_fc": Linear(width, 4 * width), "c_proj": Linear(4 * width, width)})

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.attn["c_attn"](self.ln_1(x)).chunk(3, -1)
        )
        # Written out, so that it is not the same kernel on both sides.
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ v
        x = x + self.attn["c_proj"](mixed.transpose(1, 2).flatten(2))
        inner = F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh")
        return x + self.mlp["c_proj"](inner)


class Gpt2(torch.nn.Module):
    def __init__(self, layers, heads, width, context, vocab):
        super().__init__()
        self.transformer = torch.nn.ModuleDict(
            {
                "wte": torch.nn.Embedding(vocab, width),
                "wpe": torch.nn.Embedding(context, width),
                "h": torch.nn.ModuleList(Block(width, heads) for _ in range(layers)),
                "ln_f": torch.nn.LayerNorm(width),
            }
        )

    def forward(self, tokens):
        inputs, targets = tokens[:, :-1].long(), tokens[:, 1:].long()
        body = self.transformer
        x = body["wte"](inputs) + body["wpe"].weight[: inputs.shape[1]]
        for block in body["h"]:
            x = block(x)
        logits = body["ln_f"](x) @ body["wte"].weight.T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def fit(theirs, ours):
    """Without the rows that only pad a matrix of Lockstep's, which must be zero."""
    assert not ours[len(theirs) :].any(), "padding was trained"
    return ours[: len(theirs)]


def judged(name, difference):
    """Without the bias of keys: it moves all scores of a query alike, so its gradient is only what rounding leaves, of which
    Adam makes steps as large as any."""
    if name.endswith("c_attn.bias"):
        query, _, value = difference.chunk(3)
        return torch.cat([query, value])
    return difference


def optimizer_of(job, parameters):
    kind, options = job["optimizer"]["kind"], job["optimizer"]["options"]
    return {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[kind](parameters, lr=0.0, **options)


def train(rank, folder, port, answers):
    job = json.load(open(f"{folder}/twin.json"))
    torch.set_num_threads(1)
    world_size, parts = job["worldSize"], job["accumulation"]
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
    model = {"mlp": Mlp, "gpt2": Gpt2}[job["kind"]](**job["model"])
    initial = load_file(f"{folder}/initial.safetensors")
    model.load_state_dict({name: fit(v, initial[name]) for name, v in model.state_dict().items()})
    ddp = DistributedDataParallel(model)
    optimizer = optimizer_of(job, model.parameters())
    batches = load_file(f"{folder}/batches.safetensors")
    losses = []
    for step, lr in enumerate(job["learningRates"]):
        columns = {name: column[step, rank].chunk(parts) for name, column in batches.items()}
        optimizer.zero_grad()
        total = torch.zeros(())
        for part in range(parts):
            ddp.require_backward_grad_sync = part + 1 == parts
            loss = ddp(**{name: column[part] for name, column in columns.items()}) / parts
            loss.backward()
            total += loss.detach()
        if job["clipGradNorm"] is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), job["clipGradNorm"])
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        dist.all_reduce(total)
        losses.append(total.item() / world_size)
    if rank == 0:
        with safe_open(f"{folder}/final.safetensors", framework="pt") as ours:
            assert sorted(ours.keys()) == sorted(model.state_dict()), ours.keys()
            found = ((k, v - fit(v, ours.get_tensor(k))) for k, v in model.state_dict().items())
            differences = [judged(k, difference).abs().max().item() for k, difference in found]
        answers.put({"losses": losses, "difference": max(differences)})
    dist.barrier()
    dist.destroy_process_group()


def main():
    folder = sys.argv[1]
    os.environ["OMP_NUM_THREADS"] = "1"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Forked, as nothing was computed yet: to import torch once more takes each rank seconds.
    answers = mp.get_context("fork").SimpleQueue()
    world_size = json.load(open(f"{folder}/twin.json"))["worldSize"]
    arguments = (folder, port, answers)
    processes = mp.start_processes(train, args=arguments, nprocs=world_size, join=False, start_method="fork")
    answer = answers.get()
    while not processes.join():
        pass
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
