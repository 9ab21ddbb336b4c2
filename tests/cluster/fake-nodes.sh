#!/usr/bin/env bash
# Adds nodes that only exist in the API. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
# shellcheck source=lib/component.sh
source "$here/lib/component.sh"

usage() {
  cat <<USAGE
usage: tests/cluster/fake-nodes.sh [--name CLUSTER] COUNT

Adds COUNT nodes, fake-0, fake-1, ..., whose kubelet is played by kwok: pods are scheduled there and said to run, but
nothing is started, and those of a Job are said to have succeeded at once, unless they have the annotation
lockstep.test/runs-on. Each node has 8 CPUs and 64Gi, the label
kwok.x-k8s.io/node=fake, and a taint of the same name and value (NoSchedule), so that only pods which tolerate it land
there. Again with another count: adds what is missing.
USAGE
}

name=${LOCKSTEP_CLUSTER:-default}
[[ ${1:-} != --name ]] || { name=${2:?--name needs a value} && shift 2; }
[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit; }
[[ $# == 1 && $1 =~ ^[0-9]{1,4}$ ]] || { usage >&2 && exit 2; }
count=$1
find_cluster "$name"
[[ -e $dir/ready ]] || die "cluster $name does not run" "start it with tests/cluster/up.sh --name $name"
parts=$(cat "$dir/parts")
kubectl() { "$parts/kubectl" --kubeconfig "$dir/kubeconfig" "$@"; }

if [[ ! -e $dir/pid/kwok ]] || ! component_started kwok >/dev/null; then
  component kwok "$parts/kwok" --kubeconfig "$dir/kubeconfig" --manage-nodes-with-label-selector kwok.x-k8s.io/node=fake \
    --node-lease-duration-seconds 40 --config "$here/manifests/fake-pods.yaml"
fi

node() {
  cat <<Y
apiVersion: v1
kind: Node
metadata:
  name: fake-$1
  labels: {kubernetes.io/hostname: fake-$1, kubernetes.io/os: linux, kubernetes.io/arch: amd64, kwok.x-k8s.io/node: fake}
spec:
  taints: [{key: kwok.x-k8s.io/node, value: fake, effect: NoSchedule}]
status:
  allocatable: {cpu: "8", memory: 64Gi, pods: "110"}
  capacity: {cpu: "8", memory: 64Gi, pods: "110"}
---
Y
}
for ((number = 0; number < count; number++)); do node "$number"; done | kubectl apply --server-side -f - >>"$dir/log/fake-nodes.log" 2>&1 ||
  die_with_log "the fake nodes could not be made" "$dir/log/fake-nodes.log"
kubectl wait --for=condition=Ready node --selector kwok.x-k8s.io/node=fake --timeout=120s >>"$dir/log/fake-nodes.log" 2>&1 ||
  die_with_log "the fake nodes were not ready within 120 s" "$dir/log/kwok.log"
