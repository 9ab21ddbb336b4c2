"""The committed digits, read from their MDS shards for the PyTorch twin: both sides train on the same bytes."""

import ctypes
import json
import struct
from pathlib import Path

SHARDS = Path(__file__).resolve().parents[3] / "datasets" / "digits" / "train"
PIXELS = 64


def samples():
    """Every sample as (label, 64 pixels as bytes), in the order of the shards."""
    index = json.loads((SHARDS / "index.json").read_text())
    for shard in index["shards"]:
        assert shard["column_encodings"] == ["int", f"ndarray:uint8:{PIXELS}"], shard["column_encodings"]
        packed = (SHARDS / shard["zip_data"]["basename"]).read_bytes()
        yield from _cut(_unzstd(packed, shard["raw_data"]["bytes"]))


def _cut(raw):
    """A shard: the number of samples, the offsets of each and of the end, then the samples."""
    (count,) = struct.unpack_from("<I", raw)
    offsets = struct.unpack_from(f"<{count + 1}I", raw, 4)
    for begin, end in zip(offsets, offsets[1:]):
        (label,) = struct.unpack_from("<q", raw, begin)
        yield label, raw[begin + 8 : end]


def _unzstd(packed, size):
    # Python has zstd from 3.14 on; the library is on every Debian, whose package manager needs it.
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    buffer = ctypes.create_string_buffer(size)
    written = library.ZSTD_decompress(buffer, ctypes.c_size_t(size), packed, ctypes.c_size_t(len(packed)))
    assert written == size, "a damaged shard"
    return buffer.raw


def write_flat(path, rows):
    """What the twin reads: each sample as its label's byte and its pixels."""
    path.write_bytes(b"".join(bytes([label]) + pixels for label, pixels in rows))
    return path


def write_csv(path, rows):
    """What `lockstep data pack` reads: the label last."""
    path.write_text("".join(",".join(map(str, [*pixels, label])) + "\n" for label, pixels in rows))
    return path
