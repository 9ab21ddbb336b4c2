#!/usr/bin/env python3
"""Puts the bills of the programs, of libtorch and of Debian's packages together into one of the image, and validates it."""

import argparse
import hashlib
import json
import sys
import tarfile
import uuid
from email.parser import HeaderParser
from urllib.parse import quote

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

# As the wheels themselves say.
LICENCES = {"torch": {"id": "BSD-3-Clause"}, "nvidia": {"name": "NVIDIA Proprietary"}}
# Which wheel a library is from, by the beginning of its name; the others are torch's.
OF_NVIDIA = {"libcudart": "nvidia-cuda-runtime", "libcupti": "nvidia-cuda-cupti"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", required=True, help="an OCI image in one tar file")
    parser.add_argument("--wheels", required=True, help="lines of requirement and SHA-256")
    parser.add_argument("--checkout", required=True, help="the folder that cargo-cyclonedx ran in")
    parser.add_argument("--program", action="append", required=True, help="what cargo-cyclonedx wrote of a program")
    args = parser.parse_args()

    digest, files = read_image(args.image)
    bill = Bill()
    programs = []
    for path in args.program:
        programs.append(bill.add_program(read_program(path, args.checkout), files))
    wheels = {line.split("==")[0]: bill.add(wheel(line)) for line in open(args.wheels)}
    for path in sorted(path for path in files if path.startswith("opt/lockstep/lib/")):
        name = path.rpartition("/")[2].partition(".")[0]
        bill.components[wheels[OF_NVIDIA.get(name, "torch")]]["components"].append(file(path, files[path]))
    stanzas = [files[path] for path in sorted(files) if path.startswith("var/lib/dpkg/status.d/")]
    if not stanzas:
        sys.exit(f"sbom.py: {args.image} does not say which packages it holds, in var/lib/dpkg/status.d")
    debian = bill.add(system(files["etc/debian_version"].strip()))
    packages = [bill.add(package(stanza, debian)) for stanza in stanzas]
    [worker] = [ref for ref in programs if "lockstep-trainer" in ref]
    libraries = [package for package in packages if "ca-certificates" not in package]
    bill.depends[worker] += [wheels["torch"], *libraries]
    bill.depends[wheels["torch"]] = [ref for name, ref in wheels.items() if name != "torch"] + libraries
    bill.depends[debian] = packages

    image = f"pkg:oci/lockstep@{quote(digest)}"
    bill.depends[image] = [*programs, debian]
    version = bill.components[worker]["version"]
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # The same image has the same number.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, image)}",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": image, "name": "lockstep", "version": version, "purl": image}
        },
        "components": sorted(bill.components.values(), key=lambda component: component["bom-ref"]),
        "dependencies": [{"ref": ref, "dependsOn": sorted(set(on))} for ref, on in sorted(bill.depends.items())],
    }
    text = json.dumps(whole, indent=1)
    validate(whole, text)
    print(text)
    print(f"{len(whole['components'])} components, valid CycloneDX 1.5", file=sys.stderr)


class Bill:
    """Components by their reference, and what each depends on."""

    def __init__(self):
        self.components = {}
        self.depends = {}

    def add(self, component):
        ref = component["bom-ref"]
        self.components[ref] = component
        self.depends.setdefault(ref, [])
        return ref

    def add_program(self, bom, files):
        program = bom["metadata"]["component"]
        program["hashes"] = [sha256(files["opt/lockstep/bin/" + program["name"]])]
        for component in bom["components"]:
            self.add(component)
        for dependency in bom["dependencies"]:
            # Of a crate that is in both programs, each may use other parts.
            self.depends.setdefault(dependency["ref"], []).extend(dependency.get("dependsOn", []))
        return self.add(program)


def read_image(path):
    """Its digest, and its files by path, later layers over earlier ones: libraries and programs as hash, others as text."""
    files = {}
    with tarfile.open(path) as image:

        def blob(descriptor):
            return image.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))

        [manifest] = json.load(image.extractfile("index.json"))["manifests"]
        for layer in json.load(blob(manifest))["layers"]:
            with tarfile.open(fileobj=blob(layer)) as content:
                for entry in content:
                    name = entry.name.removeprefix("./").lstrip("/")
                    if not entry.isfile():
                        continue
                    if name.startswith("opt/lockstep/"):
                        files[name] = hashlib.file_digest(content.extractfile(entry), "sha256").hexdigest()
                    elif name.startswith(("var/lib/dpkg/status.d/", "etc/debian_version")):
                        files[name] = content.extractfile(entry).read().decode()
    return manifest["digest"], files


def read_program(path, checkout):
    """References hold the folder in which they were made; ours hold none."""
    with open(path) as bom:
        return json.loads(bom.read().replace(f"path+file://{checkout}/", "path+file:///"))


def wheel(line):
    requirement, digest = line.split()
    name, version = requirement.split("==")
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "description": "Of this wheel the image holds some libraries only",
        "hashes": [sha256(digest)],
        "licenses": [{"license": LICENCES[name.split("-")[0]]}],
        "purl": purl,
        "components": [],
    }


def file(path, digest):
    return {"type": "file", "bom-ref": "file:/" + path, "name": "/" + path, "hashes": [sha256(digest)]}


def system(version):
    return {"type": "operating-system", "bom-ref": f"debian-{version}", "name": "debian", "version": version}


def package(stanza, debian):
    fields = HeaderParser().parsestr(stanza)
    name, version = fields["Package"], fields["Version"]
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={fields['Architecture']}&distro={debian}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def sha256(digest):
    return {"alg": "SHA-256", "content": digest}


def validate(bom, text):
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if error:
        sys.exit(f"sbom.py: not valid CycloneDX: {error}")
    known = {component["bom-ref"] for component in bom["components"]} | {bom["metadata"]["component"]["bom-ref"]}
    for dependency in bom["dependencies"]:
        lost = {dependency["ref"], *dependency["dependsOn"]} - known
        if lost:
            sys.exit(f"sbom.py: these are depended on and not listed: {', '.join(sorted(lost))}")


if __name__ == "__main__":
    main()
