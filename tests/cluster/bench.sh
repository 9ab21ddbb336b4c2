#!/usr/bin/env bash
# Runs tests/benches/cluster.py on a cluster of its own. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
checkout=$(readlink -f "$here/../..")

bin=${CARGO_TARGET_DIR:-$checkout/target}/release
case "${1:-}" in
  -h | --help)
    echo "usage: tests/cluster/bench.sh [--bin FOLDER] [OPTIONS OF tests/benches/cluster.py]"
    exit
    ;;
  --bin) bin=$(readlink -f "$2") && shift 2 ;;
esac
LOCKSTEP_PYTHON=$("$checkout/tests/scripts/pytorch-venv.sh")
export LOCKSTEP_PYTHON
mine=bench-$$
trap '"$here/down.sh" --name "$mine"' EXIT
trap 'exit 130' INT TERM
exports=$(LOCKSTEP_CLUSTER_AUDIT=1 "$here/demo.sh" --bin "$bin" --name "$mine" --tether $$)
set -a
eval "$exports"
set +a
"$here/python-image.sh" --load "$mine" >&2
"$here/peers/install.sh" --name "$mine"
python3 "$checkout/tests/benches/cluster.py" --bin "$bin" "$@"
