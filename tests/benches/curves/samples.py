"""The examples' datasets, read from the files that Lockstep reads."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def pictures(folder):
    """All pictures of an MDS dataset without compression: `[n, 3, height, width]` bytes, and labels."""
    index = json.loads((Path(folder) / "index.json").read_text())
    images, labels = [], []
    for shard in index["shards"]:
        assert shard["column_names"] == ["image", "label"] and shard["compression"] is None, shard
        raw = (Path(folder) / shard["raw_data"]["basename"]).read_bytes()
        (count,) = struct.unpack_from("<I", raw)
        offsets = struct.unpack_from(f"<{count + 1}I", raw, 4)
        for begin in offsets[:-1]:
            # The sizes of columns that have no fixed one come first.
            (size,) = struct.unpack_from("<I", raw, begin)
            picture = Image.open(io.BytesIO(raw[begin + 4 : begin + 4 + size])).convert("RGB")
            images.append(np.array(picture))
            labels.append(struct.unpack_from("<q", raw, begin + 4 + size)[0])
    return torch.tensor(np.stack(images)).permute(0, 3, 1, 2), torch.tensor(labels)


def windows(folder, length):
    """All windows of a token file: `[n, length + 1]`, of which one begins where the one before ends."""
    index = json.loads((Path(folder) / "index.json").read_text())
    all_windows = []
    for shard in index["shards"]:
        raw = (Path(folder) / shard["raw_data"]["basename"]).read_bytes()
        tokens = torch.frombuffer(bytearray(raw[1024:]), dtype=torch.int16).long()
        all_windows.append(tokens.unfold(0, length + 1, length))
    return torch.cat(all_windows)
