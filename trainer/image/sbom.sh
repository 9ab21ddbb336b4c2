#!/usr/bin/env bash
# Writes down what is in Lockstep's image. See --help.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
checkout=$(readlink -f "$here/../..")
cyclonedx=0.5.9 validator=11.12.0
cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}

usage() {
  cat <<USAGE
usage: trainer/image/sbom.sh [IMAGE [OUT]]

Writes a bill of materials in CycloneDX's JSON: the crates that are in agent and worker, libtorch's wheels and files, and
Debian's packages, as they are in IMAGE (an OCI image in one tar file; default: target/lockstep-image.tar), to OUT
(default: beside IMAGE, as .cdx.json). Validates it against CycloneDX's schema. The same image gives the same bytes.

Crates are listed by cargo-cyclonedx $cyclonedx, and the schema is that of cyclonedx-python-lib $validator; both are
brought into the cache once.

  LOCKSTEP_CACHE   where they are kept (default \${XDG_CACHE_HOME:-\$HOME/.cache}/lockstep)
USAGE
}

case ${1:-} in
  -h | --help) usage && exit ;;
  -*) usage >&2 && exit 2 ;;
esac
image=$(readlink -m "${1:-$checkout/target/lockstep-image.tar}")
out=$(readlink -m "${2:-${image%.tar}.cdx.json}")
if [[ ! -e $image ]]; then
  echo "sbom.sh: error: $image is not there; make image makes one" >&2
  exit 1
fi

tool=$cache/cargo-cyclonedx-$cyclonedx
if [[ ! -x $tool/bin/cargo-cyclonedx ]]; then
  echo "building cargo-cyclonedx $cyclonedx into $tool" >&2
  CARGO_TARGET_DIR=$tool/target cargo install --quiet --locked --root "$tool" --version "=$cyclonedx" cargo-cyclonedx
  rm -rf "$tool/target"
fi
venv=$cache/cyclonedx-$validator-venv
if [[ ! -e $venv/.complete ]]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "cyclonedx-python-lib[json-validation]==$validator" >&2
  touch "$venv/.complete"
fi

# In a copy, because it writes beside each Cargo.toml.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -C "$checkout" -c Cargo.toml Cargo.lock datasets launcher tests trainer | tar -C "$work" -x
cd "$work"
SOURCE_DATE_EPOCH=0 PATH=$tool/bin:$PATH cargo cyclonedx --quiet --manifest-path trainer/Cargo.toml --format json \
  --describe binaries --spec-version 1.5 --target x86_64-unknown-linux-gnu --no-build-deps
"$checkout/trainer/c10d/scripts/fetch-libtorch.sh" --wheels >"$work/wheels"
"$venv/bin/python" "$here/sbom.py" --image "$image" --wheels "$work/wheels" --checkout "$work" \
  --program trainer/agent/lockstep-agent_bin.cdx.json --program trainer/lockstep-worker_bin.cdx.json >"$work/sbom.json"
mv "$work/sbom.json" "$out"
echo "$out"
