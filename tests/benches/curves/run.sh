#!/usr/bin/env bash
# Trains the examples and their twins in PyTorch, and draws both curves: an hour on two cores.
#   run.sh BIN PYTHON OUT [cifar|shakespeare]...    OUT gets the pictures and a JSON file for each
# CIFAR's pictures are taken from datasets/cifar10, where `make example-data` puts them, and left out loudly where they aren't.
set -euo pipefail
bin=$1 python=$2 out=$3
shift 3
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../../.." && pwd)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$root/trainer/tests" OMP_NUM_THREADS=2

plots="${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}/plots-3.10"
[ -e "$plots/.complete" ] || {
  python3 -m venv "$plots"
  "$plots/bin/pip" install --quiet --disable-pip-version-check "matplotlib==3.10.*"
  touch "$plots/.complete"
}

# curve NAME EXAMPLE TITLE TWIN...
curve() {
  local name=$1 example=$2 title=$3
  shift 3
  echo "curves: $name, Lockstep" >&2
  "$bin/lockstep" launch -f "$root/trainer/examples/$example.yaml" --local --run-dir "$work/$name"
  "$bin/lockstep" metrics "$work/$name" -o json >"$work/$name.json"
  echo "curves: $name, PyTorch" >&2
  "$python" "$@" >"$work/$name.jsonl"
  "$plots/bin/python" "$here/draw.py" "$title" "$work/$name.json" "$work/$name.jsonl" "$out/$name.svg" "$out/$name.json"
}

mkdir -p "$out"
[ $# -gt 0 ] || set -- shakespeare cifar
for name in "$@"; do
  case $name in
    shakespeare)
      steps=$(sed -nE 's/^train: \{ steps: ([0-9]+).*/\1/p' "$root/trainer/examples/shakespeare-gpt.yaml")
      curve shakespeare shakespeare-gpt "Shakespeare, GPT of 0.8 M parameters" \
        "$here/shakespeare.py" "$root/datasets/shakespeare" "$steps"
      ;;
    cifar)
      if [ -e "$root/datasets/cifar10/train/index.json" ]; then
        curve cifar cifar-resnet20 "CIFAR-10, ResNet-20" "$here/cifar.py" "$root/datasets/cifar10"
      else
        echo "curves: NOT MEASURED: cifar, as datasets/cifar10 is not there; run make example-data" >&2
      fi
      ;;
    *) echo "curves: there is no $name" >&2; exit 2 ;;
  esac
done
