#!/usr/bin/env bash
# Brings the CUDA half of libtorch 2.11.0 onto this machine. See --help.
set -euo pipefail
# shellcheck source=wheels.sh
source "$(dirname "${BASH_SOURCE[0]}")/wheels.sh"

version=2.11.0
# One wheel a line: requirement, SHA-256. What torch==2.11.0 names as needed on Linux, without what only Python uses.
wheels="\
torch==$version 7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
nvidia-cublas==13.1.0.3 ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171
nvidia-cuda-nvrtc==13.0.88 ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575
nvidia-cuda-runtime==13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
nvidia-cudnn-cu13==9.19.0.56 d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf
nvidia-cufft==12.0.0.61 6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3
nvidia-cufile==1.15.1.6 08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44
nvidia-curand==10.4.0.35 1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc
nvidia-cusolver==12.0.4.66 0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112
nvidia-cusparse==12.6.3.3 2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b
nvidia-cusparselt-cu13==0.8.0 25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd
nvidia-nccl-cu13==2.28.9 e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42
nvidia-nvjitlink==13.0.88 13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b
nvidia-nvshmem-cu13==3.4.5 290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80"

home="$cache/libtorch-$version-cuda"

usage() {
  cat <<USAGE
usage: trainer/c10d/scripts/fetch-cuda.sh [--to FOLDER]

Downloads the CUDA half of libtorch $version with the libraries of NVIDIA's that it needs (2.5 GB from PyPI, once), checks
each wheel's SHA-256, keeps the 3.2 GB that are needed, and prints the folder that belongs into LD_LIBRARY_PATH. A machine that
has PyTorch $version needs none of it: there that folder is torch/lib of PyTorch itself.

  kept in   $home
            (LOCKSTEP_CACHE or XDG_CACHE_HOME move it)
  --to      lays it out in FOLDER instead, as the image's CUDA variant has it: lockstep/lib and nvidia/
  PYTHON    the Python 3 whose pip downloads the wheels (default: python3)
USAGE
}

case "${1:-}:$#" in
  :0) ;;
  --to:2) home=$2 ;;
  -h:1 | --help:1) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
lib="$home/lockstep/lib"
[ ! -e "$home/.complete" ] || { echo "$lib"; exit 0; }
[ "$#" = 0 ] || [ ! -e "$home" ] || [ -z "$(ls -A "$home")" ] ||
  die "$home is there and holds something else" "name a folder that isn't there yet, or remove it"
[ "$(uname -sm)" = "Linux x86_64" ] || die "the pinned wheels are for Linux x86_64, this is $(uname -sm)"

mkdir -p "$cache" "$(dirname "$home")"
exec 9> "$cache/.cuda.lock"
flock 9
[ ! -e "$home/.complete" ] || { echo "$lib"; exit 0; }

staging="$home.partial"
rm -rf "$staging"
# libtorch looks for NVIDIA's libraries in ../../nvidia.
mkdir -p "$staging/lockstep/lib"
# One after the other, so that the disk never holds all wheels beside what they hold.
while read -r requirement sha256; do
  # Assigned on its own line: a failure inside $(...) then ends the script.
  file="$(wheel "$requirement" "$sha256" "$staging/wheel")"
  $python - "$staging" "$file" <<'PYTHON'
import re, sys, zipfile

# Of torch the half that the CPU has not; of NVIDIA's wheels the libraries, which libtorch looks for beside its own folder.
torch = re.compile(r"torch/lib/(lib(torch_cuda|torch_cuda_linalg|torch_nvshmem|c10_cuda|caffe2_nvrtc)\.so)$")
# Not those for several GPUs in one process, nor for RDMA to files, which want more libraries than they bring.
nvidia = re.compile(r"(nvidia/\w+/lib/lib(?!cusolverMg|cufile_rdma)[^/]*\.so[.\d]*)$")
staging, path = sys.argv[1:]
with zipfile.ZipFile(path) as wheel:
    for info in wheel.infolist():
        if found := torch.match(info.filename):
            info.filename = f"lockstep/lib/{found[1]}"
        elif not nvidia.match(info.filename):
            continue
        wheel.extract(info, staging)
PYTHON
  rm -rf "$staging/wheel"
done <<< "$wheels"
rm -rf "$home"
touch "$staging/.complete"
mv "$staging" "$home"
echo "$lib"
