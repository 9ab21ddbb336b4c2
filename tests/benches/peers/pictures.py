"""Pictures read by torchvision in a DataLoader: decoded, a part of each cut out at random and resized, half of them mirrored.

usage: pictures.py FOLDER EPOCHS

Prints how many there were and the CPU time that they took. Reading in the process itself costs least: workers hand batches over.
"""

import json
import sys
import time

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, PILToTensor, RandomHorizontalFlip, RandomResizedCrop


def main():
    folder, epochs = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # Pillow's bilinear filter, which is what the other side has.
    pictures = ImageFolder(folder, Compose([RandomResizedCrop(224), RandomHorizontalFlip(), PILToTensor()]))
    loader = DataLoader(pictures, batch_size=20, shuffle=True, drop_last=True)
    since, samples = time.process_time(), 0
    for _ in range(epochs):
        for images, _ in loader:
            samples += len(images)
    print(json.dumps({"samples": samples, "cpu": time.process_time() - since}))


if __name__ == "__main__":
    main()
