#!/usr/bin/env python3
"""Makes an OCI image from folders, without a builder or a registry, and prints its digest.

Each --layer is a folder whose content becomes one layer. The same content gives the same bytes: owners, times and order
are fixed, and layers are not compressed, since they travel no further than this machine.
"""

import argparse
import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile

EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
OCI = "application/vnd.oci.image"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", help="the image as one tar file in OCI layout")
    parser.add_argument("--name", required=True, help="name:tag under which it is imported")
    parser.add_argument("--layer", action="append", required=True, help="a folder; may be given again")
    parser.add_argument("--entrypoint", required=True)
    parser.add_argument("--user", default="65532:65532")
    parser.add_argument("--env", action="append", default=[])
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(args.out))) as work:
        layers = [pack(folder, os.path.join(work, str(i))) for i, folder in enumerate(args.layer)]
        config = blob(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Entrypoint": [args.entrypoint], "Env": args.env, "User": args.user, "WorkingDir": "/"},
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
                "history": [{"created_by": f"layer {i}"} for i in range(len(layers))],
            }
        )
        manifest = blob(
            {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "config": descriptor(f"{OCI}.config.v1+json", config),
                "layers": [{key: layer[key] for key in ("mediaType", "digest", "size")} for layer in layers],
            }
        )
        tag = args.name.rpartition(":")[2]
        index = blob(
            {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.index.v1+json",
                "manifests": [
                    descriptor(f"{OCI}.manifest.v1+json", manifest)
                    | {"platform": {"architecture": "amd64", "os": "linux"}}
                    | {"annotations": {"io.containerd.image.name": args.name, "org.opencontainers.image.ref.name": tag}}
                ],
            }
        )
        # Written beside the target and renamed: a reader never sees half an image.
        whole = os.path.join(work, "image")
        with tarfile.open(whole, "w") as tar:
            add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
            add(tar, "index.json", index)
            for content in (manifest, config):
                add(tar, "blobs/sha256/" + sha256(content), content)
            for digest, path in {layer["digest"]: layer["path"] for layer in layers}.items():
                with open(path, "rb") as content:
                    tar.addfile(entry("blobs/sha256/" + digest.removeprefix("sha256:"), os.path.getsize(path)), content)
        os.replace(whole, args.out)
    print(f"{args.name} sha256:{sha256(manifest)}")


def pack(folder, out):
    """The folder as a layer: sorted, owned by root, of one time."""

    def plain(info):
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = EPOCH
        if info.isdir():
            info.mode = 0o1777 if info.name.endswith("tmp") else 0o755
        else:
            info.mode = 0o755 if info.mode & stat.S_IXUSR else 0o644
        return info

    with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(os.listdir(folder)):
            tar.add(os.path.join(folder, name), arcname=name, filter=plain)
    with open(out, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {
        "mediaType": f"{OCI}.layer.v1.tar",
        "digest": "sha256:" + digest,
        "size": os.path.getsize(out),
        "path": out,
    }


def blob(value):
    return json.dumps(value, sort_keys=True).encode()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def descriptor(media_type, content):
    return {"mediaType": media_type, "digest": "sha256:" + sha256(content), "size": len(content)}


def entry(name, size):
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, EPOCH, 0o644
    return info


def add(tar, name, content):
    tar.addfile(entry(name, len(content)), io.BytesIO(content))


if __name__ == "__main__":
    main()
