"""Weights as others publish them.

usage: published_weights.py FOLDER

Writes FOLDER/resnet18.safetensors, torchvision's state dict of a ResNet-18 for pictures with one channel, and FOLDER/gpt2,
what transformers' save_pretrained makes of a small GPT-2 that doesn't fit into one file. Prints null.
"""

import sys

import torch
import torchvision
import transformers
from safetensors.torch import save_file


def main():
    folder = sys.argv[1]
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(3)
    resnet = torchvision.models.resnet18(num_classes=10)
    resnet.conv1 = torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    save_file(resnet.state_dict(), f"{folder}/resnet18.safetensors")
    config = transformers.GPT2Config(
        n_layer=2, n_head=4, n_embd=32, n_positions=16, vocab_size=60, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(f"{folder}/gpt2", max_shard_size="40KB")
    print("null")


if __name__ == "__main__":
    main()
