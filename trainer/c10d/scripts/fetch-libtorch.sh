#!/usr/bin/env bash
# Brings the CPU half of libtorch 2.11.0 onto this machine. See --help.
set -euo pipefail

version=2.11.0
# One wheel a line: requirement, SHA-256. The two nvidia wheels hold the small libraries that libtorch_cpu.so names
# as needed (profiling stubs); no GPU is used or required.
wheels="\
torch==$version 7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
nvidia-cuda-cupti==13.0.85 4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
nvidia-cuda-runtime==13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"

cache="${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/lockstep}"
home="$cache/libtorch-$version-cpu"
link=yes

usage() {
  cat <<USAGE
usage: trainer/c10d/scripts/fetch-libtorch.sh [--no-link | --wheels]

Downloads the CPU half of libtorch $version from PyPI's wheels (544 MB, once), checks each wheel's SHA-256, keeps the
500 MB that are needed, and leaves a link .libtorch in the checkout, where .cargo/config.toml looks for it.

  kept in   $home
            (LOCKSTEP_CACHE or XDG_CACHE_HOME move it; all checkouts of one user share it)
  LIBTORCH  a libtorch $version of your own: when it is set, nothing is downloaded and no link is made
  PYTHON    the Python 3 whose pip downloads the wheels (default: python3)

--no-link leaves no link and prints the folder that LIBTORCH is to name. `lockstep new` carries this script for that.
--wheels only prints which wheels these are: requirement and SHA-256, one a line.

Running it again is cheap; interrupted, it goes on with the wheels that were complete; two at once wait for each other.
USAGE
}

say() { echo "fetch-libtorch: $*" >&2; }
die() {
  say "error: $1"
  shift
  for hint in "$@"; do say "  $hint"; done
  exit 1
}

checksum() { sha256sum "$1" | cut -d' ' -f1; }

# Prints a command that runs pip: Python's own, else one from a throw-away virtual environment.
find_pip() {
  local python="${PYTHON:-python3}"
  command -v "$python" >/dev/null || die "Python 3 is needed for the download, and '$python' is not on the PATH" \
    "install it (Debian: apt install python3 python3-pip), name one with PYTHON=," \
    "or set LIBTORCH to a libtorch $version that you have"
  if "$python" -m pip --version >/dev/null 2>&1; then
    echo "$python -m pip"
  elif "$python" -m venv "$cache/pip" >/dev/null 2>&1; then
    echo "$cache/pip/bin/python -m pip"
  else
    die "'$python' has no pip" "install it (Debian: apt install python3-pip) or set LIBTORCH to a libtorch $version that you have"
  fi
}

# Downloads one wheel into $cache/wheels and prints its path. A complete wheel of an earlier attempt is used again.
fetch_wheel() {
  local requirement=$1 sha256=$2 name file pip
  name="${requirement%%==*}"
  for file in "$cache/wheels/${name//-/_}-${requirement##*==}"-*.whl; do
    [ -f "$file" ] && [ "$(checksum "$file")" = "$sha256" ] && { echo "$file"; return; }
  done
  pip="$(find_pip)"
  say "downloading $requirement"
  echo "$requirement --hash=sha256:$sha256" > "$cache/wheels/$name.txt"
  # shellcheck disable=SC2086  # $pip is a command and its arguments
  $pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
    --python-version 3.11 --implementation cp --abi cp311 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 \
    --dest "$cache/wheels" --requirement "$cache/wheels/$name.txt" >&2 ||
    die "pip could not download $requirement (its reason is above)" \
      "without a network: copy $home from a machine that has it, or set LIBTORCH to a libtorch $version that you have"
  for file in "$cache/wheels/${name//-/_}-${requirement##*==}"-*.whl; do
    [ "$(checksum "$file")" = "$sha256" ] || die "$file has another SHA-256 than the pinned $sha256" "delete it and run this again"
    echo "$file"
    return
  done
}

# Unpacks what is needed of the wheels into a folder beside $home and moves it there in one step.
unpack() {
  local staging="$home.partial"
  rm -rf "$staging"
  "${PYTHON:-python3}" - "$staging" "$@" <<'PYTHON'
import sys, zipfile

keep = (
    "torch/include/",
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "torch/lib/libtorch_cpu.so",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
)
staging, *wheels = sys.argv[1:]
for path in wheels:
    with zipfile.ZipFile(path) as wheel:
        wheel.extractall(staging, [name for name in wheel.namelist() if name.startswith(keep)])
PYTHON
  # torch-sys links `torch` and `gomp`. The wheel's own libtorch.so would drag in the CUDA half, this link does not.
  ln -s libtorch_cpu.so "$staging/torch/lib/libtorch.so"
  ln -s libgomp.so.1 "$staging/torch/lib/libgomp.so"
  echo "$version" > "$staging/torch/build-version"
  rm -rf "$home"
  mv "$staging" "$home"
}

case "${1:-}" in
  "") ;;
  --no-link) link=no ;;
  -h | --help) usage; exit 0 ;;
  --wheels) echo "$wheels"; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

if [ -n "${LIBTORCH:-}" ]; then
  say "LIBTORCH is set: $LIBTORCH is used, nothing to do"
  [ "$link" = yes ] || echo "$LIBTORCH"
  exit 0
fi
[ "$(uname -sm)" = "Linux x86_64" ] || die "the pinned wheels are for Linux x86_64, this is $(uname -sm)" \
  "set LIBTORCH to a libtorch $version for this machine"

mkdir -p "$cache/wheels"
exec 9> "$home.lock"
flock -n 9 || { say "another one is at work, waiting for it"; flock 9; }

if [ ! -f "$home/torch/build-version" ]; then
  files=()
  while read -r requirement sha256; do
    # Assigned on its own line: a failure inside $(...) then ends the script.
    file="$(fetch_wheel "$requirement" "$sha256")"
    files+=("$file")
  done <<< "$wheels"
  unpack "${files[@]}"
  rm -rf "$cache/wheels" "$cache/pip"
  say "libtorch $version is in $home"
fi

if [ "$link" = no ]; then
  echo "$home/torch"
  exit 0
fi
link="$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)/.libtorch"
if [ -e "$link" ] && [ ! -L "$link" ]; then
  die "$link exists and is not a link" "move it away, or set LIBTORCH to use it"
fi
ln -sfn "$home/torch" "$link"
say ".libtorch -> $home/torch"
