"""What trainer/examples/shakespeare-gpt.yaml says, in PyTorch: the same data, network, optimizer and schedule, with chance of its
own.

usage: shakespeare.py DATASET STEPS

Prints a JSON line every 50 steps; those of evaluations have more in them.
"""

import json
import math
import sys

import torch
import torch.nn.functional as F
from pytorch_twin import Gpt2, GptBlock
from samples import windows

BATCH, WINDOW, LR, WARMUP, DROPOUT, LAYERS = 32, 128, 2e-3, 0.05, 0.1, 4


class Block(GptBlock):
    """The judge's block with dropout, and PyTorch's fused attention."""

    def forward(self, x):
        q, k, v = self.attn["c_attn"](self.ln_1(x)).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        rate = DROPOUT if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=rate)
        x = x + F.dropout(self.attn["c_proj"](mixed.transpose(1, 2).flatten(2)), rate)
        inner = F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh")
        return x + F.dropout(self.mlp["c_proj"](inner), rate)


class Gpt(Gpt2):
    """The judge's with dropout and GPT-2's initial values."""

    def __init__(self):
        super().__init__(LAYERS, 4, 128, WINDOW, 256)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                last = name.endswith("c_proj.weight")
                torch.nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS) if last else 0.02)
        for block in self.transformer["h"]:
            block.__class__ = Block

    def forward(self, tokens):
        body = self.transformer
        x = body["wte"](tokens) + body["wpe"].weight[: tokens.shape[1]]
        x = F.dropout(x, DROPOUT if self.training else 0.0)
        for block in body["h"]:
            x = block(x)
        return body["ln_f"](x) @ body["wte"].weight.T


def loss_of(model, rows):
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def main():
    torch.manual_seed(0)
    folder, total = sys.argv[1], int(sys.argv[2])
    train, test = windows(f"{folder}/train", WINDOW), windows(f"{folder}/test", WINDOW)
    model = Gpt()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.99), fused=True)
    warmup, order, losses = round(total * WARMUP), [], []
    for step in range(1, total + 1):
        if not order:
            order = list(torch.randperm(len(train)).split(BATCH)[: len(train) // BATCH])
        share = (step - warmup) / (total - warmup)
        lr = LR * (step / warmup if step <= warmup else (1 + math.cos(math.pi * share)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        loss = loss_of(model, train[order.pop()])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 0:
            line = {"step": step, "loss": sum(losses) / len(losses)}
            losses = []
            if step % 250 == 0:
                model.eval()
                with torch.no_grad():
                    # Of the last part too, which may be smaller.
                    parts = [(loss_of(model, rows).item(), len(rows)) for rows in test.split(64)]
                line["eval_loss"] = sum(value * count for value, count in parts) / len(test)
                model.train()
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
