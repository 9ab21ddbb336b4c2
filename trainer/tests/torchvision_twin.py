"""The same residual networks in torchvision.

usage: torchvision_twin.py FOLDER

FOLDER holds images.safetensors and, for each depth of 18, 34 and 50, DEPTH.ours.safetensors (weights of Lockstep). For each
depth this writes DEPTH.theirs.safetensors (random weights and running statistics, as torchvision names them) and
DEPTH.logits.safetensors: what torchvision makes of the images with the weights `from_ours` and `from_theirs`. Prints null.
"""

import sys

import torch
import torchvision
from safetensors.torch import load_file, save_file


def main():
    folder = sys.argv[1]
    torch.manual_seed(3)
    images = load_file(f"{folder}/images.safetensors")["image"]
    for depth in [18, 34, 50]:
        ours = load_file(f"{folder}/{depth}.ours.safetensors")
        model = getattr(torchvision.models, f"resnet{depth}")(num_classes=len(ours["fc.bias"])).eval()
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5) if name.endswith("var") else buffer.normal_(0.0, 0.1)
        with torch.no_grad():
            from_theirs = model(images)
            save_file(model.state_dict(), f"{folder}/{depth}.theirs.safetensors")
            # Counts of batches are all that ours lack.
            missing, unexpected = model.load_state_dict(ours, strict=False)
            assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
            from_ours = model(images)
        save_file({"from_ours": from_ours, "from_theirs": from_theirs}, f"{folder}/{depth}.logits.safetensors")
    print("null")


if __name__ == "__main__":
    main()
