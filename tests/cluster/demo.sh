#!/usr/bin/env bash
# A cluster on which the commands of docs/src/cluster.md work as written. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
checkout=$(readlink -f "$here/../..")

usage() {
  cat <<USAGE
usage: tests/cluster/demo.sh [--bin FOLDER] [UP-OPTIONS]

\`make cluster-up\`: starts a cluster, or finds the one that runs, gives it Lockstep's image, the digits as
s3://lockstep/datasets/digits and the store's key as the Secret s3, and prints the exports that a shell needs:

  eval "\$(make -s cluster-up)"

  --bin FOLDER   where the programs are (default: target/release)

Other options go to up.sh.
USAGE
}

bin=${CARGO_TARGET_DIR:-$checkout/target}/release
case "${1:-}" in
  -h | --help) usage && exit ;;
  --bin) bin=$(readlink -f "$2") && shift 2 ;;
esac

image=$(mktemp --suffix=.tar)
trap 'rm -f "$image"' EXIT
"$here/image.sh" --bin "$bin" --out "$image" >&2
exports=$("$here/up.sh" "$@")
eval "$exports"
"$here/image.sh" --only-load "$image" --load "$LOCKSTEP_CLUSTER" >&2
"$bin/lockstep" data copy "$checkout/datasets/digits" s3://lockstep/datasets/digits >&2
kubectl=$LOCKSTEP_CLUSTER_PARTS/kubectl
"$kubectl" create secret generic s3 --dry-run=client -o yaml \
  --from-literal=AWS_ACCESS_KEY_ID="$AWS_ACCESS_KEY_ID" --from-literal=AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY" \
  --from-literal=AWS_ENDPOINT_URL="$AWS_ENDPOINT_URL" --from-literal=AWS_REGION="$AWS_REGION" |
  "$kubectl" apply --server-side -f - >&2
echo "$exports"
echo "export PATH=$bin:$LOCKSTEP_CLUSTER_PARTS:\$PATH"
