#!/usr/bin/env python3
"""Makes the inputs beside it, from which the fuzz tests start: one folder for each parser. Needs the package zstandard."""
import gzip, json, pathlib, struct
import zstandard

here = pathlib.Path(__file__).parent


def put(name, data):
    path = here / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


COLUMNS = dict(column_names=["a", "n", "s"], column_encodings=["ndarray", "int", "str"], column_sizes=[None, 8, None])


def array(kind, sides, data, k=0):
    return bytes([kind, len(sides) << 2 | k]) + b"".join(s.to_bytes(1 << k, "little") for s in sides) + data


def sample(a, n, s):
    return struct.pack("<II", len(a), len(s)) + a + struct.pack("<q", n) + s


def shard(samples, count=None):
    offsets = [4 + 4 * (len(samples) + 1) + 2]
    for one in samples:
        offsets.append(offsets[-1] + len(one))
    count = len(samples) if count is None else count
    return struct.pack("<I", count) + struct.pack("<%dI" % len(offsets), *offsets) + b"{}" + b"".join(samples)


samples = [
    sample(array(8, [3], b"abc"), 1, b"one"),
    sample(array(34, [1, 2], struct.pack("<2f", 1.5, -2)), -5, "zwölf".encode()),
    sample(array(18, [2], b"\0\x3c\0\x3c", k=1), 1 << 60, b""),
]
wide = [sample(array(64, [1] * 63, b"\1" + bytes(7), k=3), 0, b""), sample(array(66, [2**64 - 1] * 3, b"", k=3), 0, b"x")]
whole = shard(samples)

put("sample/array", samples[0])
put("sample/floats", samples[1])
put("sample/halves", samples[2])
put("sample/many-dimensions", wide[0])
put("sample/huge-sides", wide[1])
put("sample/not-utf8", sample(array(8, [1], b"a"), 1, b"\xff\xfe"))
put("sample/size-beyond", struct.pack("<II", 2**32 - 1, 2**32 - 1) + b"abc")

put("shard/empty", b"")
put("shard/none", shard([]))
put("shard/one", shard(samples[:1]))
put("shard/three", whole)
put("shard/wide", shard(wide))
put("shard/absurd-count", shard(samples, 2**32 - 1))
put("shard/count-too-small", shard(samples, 2))
put("shard/zeros", bytes(64))

put("zstd/three", zstandard.ZstdCompressor(level=3).compress(whole))
put("zstd/without-size", zstandard.ZstdCompressor(write_content_size=False).compress(whole))
put("zstd/two-frames", zstandard.ZstdCompressor().compress(whole[:50]) + zstandard.ZstdCompressor().compress(whole[50:]))
put("zstd/bomb", zstandard.ZstdCompressor(level=1).compress(bytes(4 << 20)))
put("gz/three", gzip.compress(whole, mtime=0))
put("gz/two-members", gzip.compress(whole[:50], mtime=0) + gzip.compress(whole[50:], mtime=0))
put("gz/bomb", gzip.compress(bytes(4 << 20), mtime=0))


def info(**more):
    base = dict(COLUMNS, version=2, format="mds", compression=None, hashes=[], samples=3, size_limit=1 << 26)
    raw = dict(basename="shard.00000.mds", bytes=len(whole), hashes={})
    return dict(dict(base, raw_data=raw, zip_data=None), **more)


def index(*shards, **more):
    return json.dumps(dict(version=2, shards=list(shards), **more))


hashed = dict(basename="shard.00000.mds", bytes=len(whole), hashes={"xxh64": "0" * 16, "sha256": "0" * 64})
zipped = dict(basename="shard.00000.mds.zstd", bytes=99, hashes={})
put("index/plain", index(info()))
put("index/noted", index(info(), lockstep={"ranges": {"n": {"min": -5, "max": 3e300}}, "source": "here"}))
put("index/hashed", index(info(raw_data=hashed, hashes=["xxh64", "sha256"])))
put("index/packed", index(info(compression="zstd:7", zip_data=zipped)))
put("index/two", index(info(), info(raw_data=dict(hashed, basename="1/shard.mds"))))
put("index/other-encodings", index(info(column_encodings=["pkl", "int", "list[jpeg]"])))
put("index/huge-numbers", index(info(samples=2**64 - 1, raw_data=dict(hashed, bytes=2**64 - 1))))
put("index/leaves-its-folder", index(info(raw_data=dict(hashed, basename="../../etc/passwd"))))
put("index/deep", "[" * 5000)
put("index/deep-inside", '{"version": 2, "shards": [], "x": ' + '{"x":' * 500 + "1" + "}" * 501)
put("index/empty", "")
put("index/no-shards", index())

tokens = dict(
    info(format="tokens", version=1, samples=20, raw_data=dict(basename="shard.00000.mds", bytes=1064, hashes={})),
    column_names=["tokens"], column_encodings=["uint16"], column_sizes=[2],
)
put("index/tokens", index(tokens, lockstep={"ranges": {"tokens": {"min": 0, "max": 255}}, "tokenizer": "bytes"}))


def llm_c(magic, version, count, body):
    return struct.pack("<256i", magic, version, count, *[0] * 253) + body


put("tokens/llm-c", llm_c(20240520, 1, 20, bytes(range(40))))
put("tokens/llm-c-wide", llm_c(20240801, 7, 20, bytes(range(80))))
put("tokens/bare", bytes(range(40)))
put("tokens/empty", b"")
put("tokens/odd", b"abc")
put("tokens/absurd-count", llm_c(20240520, 1, 2**31 - 1, bytes(40)))
put("tokens/negative-count", llm_c(20240520, 1, -1, bytes(40)))
put("tokens/other-magic", llm_c(20240522, 1, 20, bytes(40)))
put("tokens/other-version", llm_c(20240520, 2, 20, bytes(40)))
put("tokens/header-only", llm_c(20240520, 1, 0, b""))
put("tokens/half-a-header", llm_c(20240520, 1, 20, b"")[:500])
