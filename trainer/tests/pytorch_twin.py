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
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel


class Mlp(torch.nn.Module):
    def __init__(self, widths):
        super().__init__()
        pairs = zip(widths, widths[1:])
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in pairs)

    def forward(self, x):
        x = F.layer_norm(x.float(), x.shape[1:])
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class Block(torch.nn.Module):
    """Two 3 x 3 convolutions beside a shortcut without parameters, as in He and others, option A."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(outputs)
        self.conv2 = torch.nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.more:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return F.relu(x + y)


class CifarResnet(torch.nn.Module):
    def __init__(self, depth, channels, classes):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        inputs = 16
        for stage, width in enumerate([16, 32, 64]):
            blocks = []
            for i in range((depth - 2) // 6):
                blocks.append(Block(inputs, width, 2 if stage and not i else 1))
                inputs = width
            setattr(self, f"layer{stage + 1}", torch.nn.Sequential(*blocks))
        self.fc = torch.nn.Linear(64, classes)

    def forward(self, x):
        # In memory as Lockstep has it: with the last bits of another order, losses are 1e-2 apart after 20 steps.
        count, channels, height, width = x.shape
        x = x.float().permute(0, 2, 3, 1).contiguous()
        x = x.as_strided((count, channels, height, width), (height * width * channels, 1, width * channels, channels))
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class Linear(torch.nn.Linear):
    """Its weight lies transposed, as GPT-2's."""

    def __init__(self, inputs, outputs):
        super().__init__(outputs, inputs)
        self.bias = torch.nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


class GptBlock(torch.nn.Module):
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


class FastBlock(GptBlock):
    """The block with PyTorch's fused attention, as everybody trains it."""

    def forward(self, x):
        q, k, v = self.attn["c_attn"](self.ln_1(x)).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn["c_proj"](mixed.transpose(1, 2).flatten(2))
        inner = F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh")
        return x + self.mlp["c_proj"](inner)


def hasten(model):
    """Makes a model as fast as everybody trains it, for who measures instead of judging."""
    for block in model.modules():
        if type(block) is GptBlock:
            block.__class__ = FastBlock


class Gpt2(torch.nn.Module):
    def __init__(self, layers, heads, width, context, vocab):
        super().__init__()
        self.transformer = torch.nn.ModuleDict(
            {
                "wte": torch.nn.Embedding(vocab, width),
                "wpe": torch.nn.Embedding(context, width),
                "h": torch.nn.ModuleList(GptBlock(width, heads) for _ in range(layers)),
                "ln_f": torch.nn.LayerNorm(width),
            }
        )

    def forward(self, tokens):
        body = self.transformer
        x = body["wte"](tokens) + body["wpe"].weight[: tokens.shape[1]]
        for block in body["h"]:
            x = block(x)
        return body["ln_f"](x) @ body["wte"].weight.T


def model_of(job):
    options = job["model"]["options"]
    return {"mlp": Mlp, "resnet": CifarResnet, "gpt2": Gpt2}[job["model"]["kind"]](*options)


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


KINDS = {"fp32": None, "bf16": torch.bfloat16, "bf16-params": torch.bfloat16, "fp16": torch.float16}


def masters_of(model):
    """Rounds the matrices of a model, and returns what they were, to be trained."""
    masters = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() >= 2:
            masters[name] = parameter.detach().clone().requires_grad_()
            parameter.data = parameter.data.bfloat16()
    return masters


def train(rank, folder, port, answers):
    job = json.load(open(f"{folder}/twin.json"))
    torch.set_num_threads(1)
    world_size, parts = job["worldSize"], job["accumulation"]
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
    model = model_of(job)
    initial = load_file(f"{folder}/initial.safetensors")
    fitting = {k: fit(v, initial[k]) for k, v in model.state_dict().items() if k in initial}
    model.load_state_dict(fitting, strict=False)
    masters = masters_of(model) if job["precision"] == "bf16-params" else {}
    trained = {name: masters.get(name, parameter) for name, parameter in model.named_parameters()}
    ddp = DistributedDataParallel(model, broadcast_buffers=False)
    if job["exchange"] != "fp32":
        ddp.register_comm_hook(None, getattr(default_hooks, job["exchange"] + "_compress_hook"))
    optimizer = optimizer_of(job, trained.values())
    scaler = torch.amp.GradScaler("cpu", enabled=job["precision"] == "fp16")
    kind = KINDS[job["precision"]]
    batches = load_file(f"{folder}/batches.safetensors")
    losses = []
    for step, lr in enumerate(job["learningRates"]):
        x = batches[job["input"]][step, rank]
        if job["target"] is None:
            x, labels = x[:, :-1].long(), x[:, 1:].long()
        else:
            labels = batches[job["target"]][step, rank]
        x, labels = x.chunk(parts), labels.chunk(parts)
        ddp.zero_grad()
        total = torch.zeros(())
        for part in range(parts):
            ddp.require_backward_grad_sync = part + 1 == parts
            with torch.autocast("cpu", kind, enabled=kind is not None):
                loss = F.cross_entropy(ddp(x[part]).flatten(0, -2), labels[part].flatten()) / parts
            scaler.scale(loss).backward()
            total += loss.detach().float()
        for name, master in masters.items():
            master.grad = model.get_parameter(name).grad.float()
        scaler.unscale_(optimizer)
        if job["clipGradNorm"] is not None:
            torch.nn.utils.clip_grad_norm_(trained.values(), job["clipGradNorm"])
        for group in optimizer.param_groups:
            group["lr"] = lr
        scaler.step(optimizer)
        scaler.update()
        for name, master in masters.items():
            model.get_parameter(name).data.copy_(master)
        # Running statistics of all ranks: each has moved towards its own batch's from what was the same on all.
        for buffer in model.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= world_size
        dist.all_reduce(total)
        losses.append(total.item() / world_size)
    if rank == 0:
        with safe_open(f"{folder}/final.safetensors", framework="pt") as ours:
            state = model.state_dict() | {k: v.detach() for k, v in masters.items()}
            state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
            assert sorted(ours.keys()) == sorted(state), ours.keys()
            # Of a tensor's largest number, where that is above 1: a variance may be any.
            if parts > 1:
                # Here they move with each micro batch, in Lockstep once a step.
                state = {k: v for k, v in state.items() if "running_" not in k}
            found = ((k, (v - fit(v, ours.get_tensor(k))) / max(1.0, v.abs().max().item())) for k, v in state.items())
            differences = [judged(k, difference).abs().max().item() for k, difference in found]
        answers.put({"losses": losses, "difference": max(differences), "scale": scaler.get_scale()})
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
    # Where a rank fails, this raises; the answer is small enough to wait in its pipe.
    while not processes.join():
        pass
    print(json.dumps(answers.get()))


if __name__ == "__main__":
    main()
