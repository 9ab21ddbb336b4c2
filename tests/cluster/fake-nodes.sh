#!/usr/bin/env bash
# Adds nodes that only exist in the API. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
# shellcheck source=lib/address.sh
source "$here/lib/address.sh"
# shellcheck source=lib/component.sh
source "$here/lib/component.sh"

usage() {
  cat <<USAGE
usage: tests/cluster/fake-nodes.sh [--name CLUSTER] [--running] COUNT

Adds COUNT nodes, fake-0, fake-1, ..., whose kubelet is played by kwok: pods are scheduled there and said to run, but
nothing is started, and those of a Job are said to have succeeded at once, unless they have the annotation
lockstep.test/runs-on. Each node has 8 CPUs and 64Gi, the label
kwok.x-k8s.io/node=fake, and a taint of the same name and value (NoSchedule), so that only pods which tolerate it land
there. Again with another count: adds what is missing.

  --running   pods of a Job stay as they are, running, instead, and the log of each is what is in fake-pods.log of the
              cluster's folder; to be given when the first nodes are added
USAGE
}

name=${LOCKSTEP_CLUSTER:-default}
[[ ${1:-} != --name ]] || { name=${2:?--name needs a value} && shift 2; }
running=""
[[ ${1:-} != --running ]] || { running=yes && shift; }
[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit; }
[[ $# == 1 && $1 =~ ^[0-9]{1,4}$ ]] || { usage >&2 && exit 2; }
count=$1
find_cluster "$name"
[[ -e $dir/ready ]] || die "cluster $name does not run" "start it with tests/cluster/up.sh --name $name"
parts=$(cat "$dir/parts")
kubectl() { "$parts/kubectl" --kubeconfig "$dir/kubeconfig" "$@"; }

options=(--config "$here/manifests/fake-pods.yaml")
# The API server asks kwok for logs as it asks a kubelet.
if [[ -n $running ]]; then
  address_plan "$(cat "$dir/slot")"
  touch "$dir/fake-pods.log"
  sed "s#@LOG@#$dir/fake-pods.log#" "$here/manifests/running-pods.yaml" >"$dir/kwok.yaml"
  options=(--config "$dir/kwok.yaml" --node-ip "$hub_ip" --node-port 10247
    --tls-cert-file "$dir/pki/apiserver.crt" --tls-private-key-file "$dir/pki/apiserver.key")
fi
if [[ ! -e $dir/pid/kwok ]] || ! component_started kwok >/dev/null; then
  component kwok "$parts/kwok" --kubeconfig "$dir/kubeconfig" --manage-nodes-with-label-selector kwok.x-k8s.io/node=fake \
    --node-lease-duration-seconds 40 "${options[@]}"
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
