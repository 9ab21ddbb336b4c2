"""SeaweedFS on loopback, the S3 server of the tests, for as long as a `with` block."""

import contextlib
import json
import os
import socket
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from harness.children import Child, Failed

START = 60.0
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "seaweedfs.sh"
BUCKET = "bench"
# So that no disk is measured, nor refuses for want of room.
MEMORY = Path("/dev/shm")


def free_ports(count):
    """Ports of 127.0.0.1 that nobody has. A gRPC port is 10000 above its own unless it is named, so all are."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextlib.contextmanager
def s3():
    """Gives the URI of an empty bucket, whose server our programs find by the environment. It keeps what it has in memory."""
    with tempfile.TemporaryDirectory(prefix="lockstep-store-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        with _started(Path(folder)) as bucket:
            yield bucket


@contextlib.contextmanager
def _started(folder):
    with Child([SCRIPT]) as build:
        weed = build.wait_for(r"^(/.*/weed)$", 900.0)[1][1]
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
             "s3.port", "s3.port.grpc")
    ports = dict(zip(names, free_ports(len(names))))
    config = folder / "s3.json"
    key = {"accessKey": "lockstep", "secretKey": "of-this-benchmark"}
    config.write_text(json.dumps({"identities": [{"name": "owner", "actions": ["Admin"], "credentials": [key]}]}))
    (folder / "weed").mkdir()
    url = f"http://127.0.0.1:{ports['s3.port']}"
    # As storage_start in tests/cluster/lib/control-plane.sh does it, but a put makes the bucket.
    command = [
        weed, "-logtostderr=true", "server", f"-dir={folder / 'weed'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-master.telemetry=false", "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=256", "-volume.max=100", "-s3",
        f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-filer.localSocket={folder / 'filer.sock'}",
        f"-s3.localSocket={folder / 's3.sock'}", *(f"-{name}={port}" for name, port in ports.items()),
    ]
    env = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": key["accessKey"], "AWS_SECRET_ACCESS_KEY": key["secretKey"],
           "AWS_REGION": "us-east-1"}
    with Child(command) as server, _environment(env):
        _wait(server, url)
        yield f"s3://{BUCKET}"


@contextlib.contextmanager
def _environment(names):
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _wait(server, url):
    """Until it answers anything: that a key is missing, for instance."""
    until = time.monotonic() + START
    while time.monotonic() < until:
        server.watch(0.1)
        try:
            return urllib.request.urlopen(url, timeout=5.0).close()
        except urllib.error.HTTPError:
            return None
        except OSError:
            continue
    raise Failed(str(server.failure(f"no S3 at {url} within {START:.0f} s")))
