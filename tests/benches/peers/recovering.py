"""The PyTorch twin that gets over faults: with a checkpoint every so many steps under torchrun, or with torchft.

Started by torchrun, or by groups.py as one replica group of torchft. The batch of a step is the same on both, and the same
as Lockstep's. Prints one JSON line for each step: rank 0 under torchrun, each group with torchft.
"""

import argparse
import json
import os
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from models import samples
from pytorch_twin import Gpt2, Mlp, fit, hasten
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.nn.parallel import DistributedDataParallel


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["mlp", "gpt"], required=True)
    parser.add_argument("--options", type=json.loads, required=True, help="what the network is built from")
    parser.add_argument("--data", required=True)
    parser.add_argument("--batch", type=int, required=True, help="samples of a step, over all ranks")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--weights", help="safetensors file with the first weights")
    parser.add_argument("--checkpoint", type=Path, help="where torchrun's ranks go on from")
    parser.add_argument("--checkpoint-every", type=int, default=0, help="steps between two checkpoints; 0 for none")
    parser.add_argument("--mean-loss", type=int, default=0, help="1: tell the mean loss of all ranks, not this one's")
    return parser.parse_args()


def say(line):
    """In one write, as all ranks share the pipe."""
    os.write(1, f"{json.dumps(line)}\n".encode())


class Training:
    """Model, optimizer and data; a batch is a function of step and rank."""

    def __init__(self, args, rank, world):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.args, self.rank, self.world = args, rank, world
        self.inputs, self.labels = samples(args.model, args.data)
        self.model = {"mlp": Mlp, "gpt": Gpt2}[args.model](*args.options)
        hasten(self.model)
        if args.weights:
            from safetensors.torch import load_file

            weights = load_file(args.weights)
            fitting = {k: fit(v, weights[k]) for k, v in self.model.state_dict().items() if k in weights}
            self.model.load_state_dict(fitting, strict=False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0.01)

    def loss(self, network, step):
        """Of the step of that number, from 1."""
        size = self.args.batch
        begin = (step - 1) % (len(self.labels) // size) * size + self.rank * (size // self.world)
        mine = slice(begin, begin + size // self.world)
        return F.cross_entropy(network(self.inputs[mine]).flatten(0, -2), self.labels[mine].flatten())

    def state(self):
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def under_torchrun(args):
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    training, first = Training(args, rank, world), 1
    if args.checkpoint and args.checkpoint.exists():
        saved = torch.load(args.checkpoint)
        training.load(saved)
        first = saved["step"] + 1
    network = DistributedDataParallel(training.model)
    for step in range(first, args.steps + 1):
        training.optimizer.zero_grad()
        loss = training.loss(network, step)
        loss.backward()
        training.optimizer.step()
        if args.checkpoint_every and step % args.checkpoint_every == 0 and rank == 0:
            half = args.checkpoint.with_suffix(".half")
            torch.save(training.state() | {"step": step}, half)
            half.rename(args.checkpoint)
        mean = loss.detach() / world
        if args.mean_loss:
            dist.all_reduce(mean)
        if rank == 0:
            told = mean.item() if args.mean_loss else loss.item()
            restart = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
            say({"restart": restart, "step": step, "loss": told})
    dist.barrier()
    os._exit(0)


def average(manager, model):
    """Averages the gradients over all groups, in one piece; an error is the manager's, which then commits nothing."""
    gradients = [parameter.grad for parameter in model.parameters()]
    flat = _flatten_dense_tensors(gradients)
    manager.allreduce(flat).wait()
    for gradient, averaged in zip(gradients, _unflatten_dense_tensors(flat, gradients)):
        gradient.copy_(averaged)


def with_torchft(args):
    from torchft import Manager, ProcessGroupGloo
    from torchft.checkpointing import HTTPTransport

    group, groups = int(os.environ["REPLICA_GROUP_ID"]), int(os.environ["NUM_REPLICA_GROUPS"])
    training = Training(args, group, groups)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    # Timeouts as in torchft's own example. All weights are the same from the start, so nobody waits for the first's.
    manager = Manager(
        pg=ProcessGroupGloo(timeout=timedelta(seconds=5)), timeout=timedelta(seconds=30), init_sync=False,
        min_replica_size=int(os.environ["LEAST_GROUPS"]),
        load_state_dict=training.load, state_dict=training.state, replica_id=f"group_{group}", hostname="127.0.0.1",
        store_addr="127.0.0.1", store_port=store.port, rank=0, world_size=1,
        checkpoint_transport=HTTPTransport(timeout=timedelta(seconds=30), num_chunks=0),
    )
    # Its DistributedDataParallel, as of 0.2.0, ends a survivor by an assertion where a peer is lost in the midst of a reduction
    # (`assert fut._fut` in its hook), and with it the last copy of the state. So gradients are averaged by a call here.
    # Only who has been in step with the others loses something with an attempt.
    survivor = False
    while manager.current_step() < args.steps:
        manager.start_quorum()
        training.optimizer.zero_grad()
        loss = training.loss(training.model, manager.current_step() + 1)
        loss.backward()
        average(manager, training.model)
        told = loss.detach().clone()
        if args.mean_loss:
            manager.allreduce(told).wait()
        committed = manager.should_commit()
        if committed:
            training.optimizer.step()
        line = {"replica": group, "step": manager.current_step(), "committed": committed, "survivor": survivor}
        line |= {"ranks": manager.num_participants(), "quorum": manager._quorum_id, "loss": told.item()}
        say(line)
        survivor |= committed
    # The others may still ask for it.
    time.sleep(1.0)
    os._exit(0)


if __name__ == "__main__":
    with_torchft(arguments()) if "REPLICA_GROUP_ID" in os.environ else under_torchrun(arguments())
