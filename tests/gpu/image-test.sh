#!/usr/bin/env bash
# Lays out the image's CUDA variant, and shows that everything in it finds what it needs, and that its programs start without a
# GPU. As root.
#   image-test.sh BIN LIBRARY    BIN holds the programs, LIBRARY is what `make nccl` built
# The layout is the Dockerfile's: trainer/image/root.sh for what the CPU image has, fetch-cuda.sh for the rest.
set -euo pipefail
bin=$1 library=$2
checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=../cluster/lib/check.sh
source "$checkout/tests/cluster/lib/check.sh"
[[ $(id -u) == 0 ]] || { echo "image-test: this needs root (programs run in a root of their own)" >&2; exit 3; }

work=$(mktemp -d /var/tmp/lockstep-cuda-XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
lay_out() {
  local half
  "$checkout/trainer/image/root.sh" programs "$bin" "$root"
  "$checkout/trainer/image/root.sh" system "$bin/lockstep-worker" "$root"
  half=$("$checkout/trainer/c10d/scripts/fetch-cuda.sh")
  # By links: these are 3 GB.
  cp -al "$half"/. "$root/opt/lockstep/lib/"
  cp -al "${half%/lockstep/lib}/nvidia" "$root/opt/nvidia"
  cp "$library" "$root/opt/lockstep/lib/"
  mv "$root/opt/lockstep-cuda/bin/lockstep-gpu" "$root/opt/lockstep/bin/"
  mkdir -p "$root"/{proc,dev,data,run}
  cp -r "$checkout/datasets/digits" "$root/data/"
  chown 65532 "$root/run"
}

# inside COMMAND...: in that root, as the image's user, with only what a container has around it
inside() {
  timeout 120 unshare --mount --pid --fork --kill-child bash -c '
    mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot --userspec 65532:65532 "$0" "$@"' "$root" "$@"
}

# What libraries lack, but for the driver, which a node brings along.
nothing_is_missing() {
  local file missing
  missing=$(cd "$root" && find opt -name '*.so*' -type f | while read -r file; do
    inside /lib64/ld-linux-x86-64.so.2 --list "/$file" 2>&1 | grep "not found" | grep -v "libcuda.so.1 " | sed "s|^|$file:|"
  done || true)
  [[ -z $missing ]] || { echo "$missing" >&2; return 1; }
}

worker_starts() { inside /opt/lockstep/bin/lockstep-worker --version | grep -q "libtorch 2.11.0"; }

gpu_program_starts() { inside /opt/lockstep/bin/lockstep-gpu | grep -q '"missing":"libnvidia-ml.so.1 of NVIDIA'; }

# train DEVICE: one node's agent, as a pod has it
train() {
  local device=$1
  cat >"$root/run/job.json" <<JSON
{ "name": "digits", "model": { "kind": "mlp" }, "train": { "steps": 20, "globalBatch": 8 }, "device": "$device",
  "data": { "train": { "uri": "/data/digits", "split": "train" } }, "storage": "/run" }
JSON
  inside /opt/lockstep/bin/lockstep-agent run --run-dir "/run/$device-$2" --job /run/job.json --node 0 --launch 1 \
    --host 127.0.0.1 --scratch "/run/scratch-$2" --gpus "$2" --last-words /run/words
}
trains_on_cpus() { train auto 0; }
says_what_is_missing() {
  if train auto 1; then return 1; fi
  grep -q "kubernetes.gpu asks for one.*there is no NVIDIA driver: libcuda.so.1" "$root/run/words"
}

check "the CUDA variant is laid out" lay_out
[[ $failed == 0 ]] || exit 1
check "each library finds what it needs, but for the driver" nothing_is_missing
check "the worker starts without a GPU" worker_starts
check "what watches GPUs starts, and says what is missing" gpu_program_starts
check "it trains on CPUs where nobody promised a GPU" trains_on_cpus
check "a pod that was promised one says what is missing" says_what_is_missing
verdict
