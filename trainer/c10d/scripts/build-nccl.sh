#!/usr/bin/env bash
# Builds liblockstep_nccl.so, through which workers reach CUDA and NCCL. See --help.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=wheels.sh
source "$here/scripts/wheels.sh"

# One wheel a line: requirement, SHA-256, the folder of its headers. They are those that libtorch 2.11.0's wheel was built with.
wheels="\
nvidia-nccl-cu13==2.28.9 e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42 nvidia/nccl/include
nvidia-cuda-runtime==13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 nvidia/cu13/include
nvidia-cuda-crt==13.0.88 2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4 nvidia/cu13/include
nvidia-cuda-cccl==13.0.85 e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649 nvidia/cu13/include"

headers="$cache/cuda-headers-13.0-nccl-2.28.9"

usage() {
  cat <<USAGE
usage: trainer/c10d/scripts/build-nccl.sh FILE

Builds FILE, liblockstep_nccl.so. It needs no GPU, no CUDA toolkit and no NCCL: it is compiled against the headers in NVIDIA's
wheels (200 MB, fetched once from PyPI and checked by SHA-256) and linked with none of their libraries. A worker opens it
where there is a GPU, after libtorch_cuda.so.

  kept in   $headers
            (LOCKSTEP_CACHE or XDG_CACHE_HOME move it; 23 MB)
  LIBTORCH  the libtorch that workers are built with (default: .libtorch in the checkout)
  CXX       the C++ compiler (default: g++)
  PYTHON    the Python 3 whose pip downloads the wheels (default: python3)
USAGE
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  "" | -*) usage >&2; exit 2 ;;
esac
out=$1
libtorch="${LIBTORCH:-$(readlink -f "$here/../../.libtorch" || true)}"
[ -d "$libtorch/include/torch" ] || die "there is no libtorch in '$libtorch'" "run make .libtorch, or set LIBTORCH"

# Downloads the wheels and keeps their headers.
fetch() {
  local staging="$headers.partial" requirement sha256 folder file
  rm -rf "$staging"
  mkdir -p "$staging"
  while read -r requirement sha256 folder; do
    # Assigned on its own line: a failure inside $(...) then ends the script.
    file="$(wheel "$requirement" "$sha256" "$staging/wheel")"
    $python - "$staging" "$folder/" "$file" <<'PYTHON'
import sys, zipfile

staging, folder, path = sys.argv[1:]
with zipfile.ZipFile(path) as wheel:
    wheel.extractall(staging, [name for name in wheel.namelist() if name.startswith(folder)])
PYTHON
    rm -rf "$staging/wheel"
  done <<< "$wheels"
  rm -rf "$headers"
  mv "$staging" "$headers"
}

mkdir -p "$cache" "$(dirname "$out")"
exec 9> "$headers.lock"
flock 9
[ -d "$headers" ] || fetch

# One unit, as in build.rs. Symbols of libtorch_cuda, CUDA and NCCL are found when it is opened.
unit="$(mktemp --suffix=.cpp)"
trap 'rm -f "$unit" "$out.partial"' EXIT
printf '#include "%s"\n' guard.cpp nccl/device.cpp nccl/group.cpp > "$unit"
${CXX:-g++} -std=c++17 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -DUSE_DISTRIBUTED \
  -I"$here/shim" -I"$here/shim/nccl" -I"$here/shim/nccl/cuda_stub" \
  -isystem "$libtorch/include" -isystem "$libtorch/include/torch/csrc/api/include" \
  -isystem "$headers/nvidia/cu13/include" -isystem "$headers/nvidia/cu13/include/cccl" \
  -isystem "$headers/nvidia/nccl/include" \
  "$unit" -o "$out.partial"
strip --strip-unneeded "$out.partial"
mv "$out.partial" "$out"
echo "build-nccl: $out" >&2
