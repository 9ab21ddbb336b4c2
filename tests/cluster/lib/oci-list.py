#!/usr/bin/env python3
"""Prints what an OCI image in one tar file is, as text that can be compared: its digest, its config or its files."""

import argparse
import io
import json
import stat
import tarfile


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["digest", "config", "files"])
    parser.add_argument("image")
    args = parser.parse_args()
    with tarfile.open(args.image) as image:
        [manifest] = json.load(image.extractfile("index.json"))["manifests"]
        if args.what == "digest":
            print(manifest["digest"])
            return
        layout = json.load(blob(image, manifest))
        if args.what == "config":
            config = json.load(blob(image, layout["config"]))
            about = {key: config["config"].get(key) for key in ("Entrypoint", "Cmd", "Env", "User", "WorkingDir")}
            print(json.dumps({"os": config["os"], "architecture": config["architecture"], **about}, indent=1))
            return
        files = {}
        for layer in layout["layers"]:
            with tarfile.open(fileobj=io.BufferedReader(blob(image, layer))) as content:
                for entry in content:
                    path = "/" + entry.name.strip("./")
                    kind = stat.S_IFDIR if entry.isdir() else stat.S_IFLNK if entry.issym() else stat.S_IFREG
                    files[path] = f"{stat.filemode(kind | entry.mode)} {entry.uid}:{entry.gid} {path}"
        files.pop("/", None)
        print("\n".join(files[path] for path in sorted(files)))


def blob(image, descriptor):
    return image.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))


if __name__ == "__main__":
    main()
