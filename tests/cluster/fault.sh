#!/usr/bin/env bash
# Breaks and mends parts of a running cluster. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
# shellcheck source=lib/address.sh
source "$here/lib/address.sh"
# shellcheck source=lib/cgroup.sh
source "$here/lib/cgroup.sh"
# shellcheck source=lib/pki.sh
source "$here/lib/pki.sh"
# shellcheck source=lib/component.sh
source "$here/lib/component.sh"
# shellcheck source=lib/control-plane.sh
source "$here/lib/control-plane.sh"
# shellcheck source=lib/node.sh
source "$here/lib/node.sh"
# shellcheck source=lib/freeze.sh
source "$here/lib/freeze.sh"

usage() {
  cat <<USAGE
usage: tests/cluster/fault.sh [--name CLUSTER] FAULT

Each returns once the thing has happened. Nodes are n1, n2, ...; without --name it is LOCKSTEP_CLUSTER's or "default".

  kill NODE                  pull its plug: every process on it is gone at once, its network too
  start NODE                 switch it on again, with its disk as it was
  freeze NODE                stop every process on it; its network stays
  thaw NODE                  let them go on
  container NODE ID          kill the first process of a container, and so all of them
  partition NODE             take its network link down; its processes run on
  heal NODE                  put the link up again
  stop COMPONENT             kill a server: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, coredns, storage
  resume COMPONENT           start it again, with its data as it was
  restart COMPONENT          one after the other; for kube-apiserver, storage and coredns until it answers again
  resource NODE NAME COUNT   give it COUNT of an extended resource such as nvidia.com/gpu (0 takes it away)
USAGE
}

load_cluster() {
  find_cluster "$1"
  [[ -e $dir/ready ]] || die "cluster $1 does not run" "start it with tests/cluster/up.sh --name $1"
  address_plan "$(cat "$dir/slot")"
  parts=$(cat "$dir/parts")
  # shellcheck source=/dev/null
  source "$dir/env"
}

# a_node NAME: sets number, at and pid
a_node() {
  number=${1#n}
  at=$(node_dir "$number")
  [[ $1 == n* && -d $at ]] || die "there is no node $1" "there are $(cd "$dir/nodes" && echo n*)"
  pid=$(pid_in "$at/pid")
}

powered() { running "$at/pid"; }
off() { ! powered; }
need_power() { powered || die "node n$number is not running" "tests/cluster/fault.sh start n$number switches it on"; }

kill_node() {
  need_power
  kill -KILL "$pid"
  wait_until 20 off || die "node n$number still runs 20 s after SIGKILL"
  cgroup_remove "lockstep-$slot/n$number" || die "control groups of node n$number could not be removed"
}

# first_process ID: of a container on the node, by the number that the hub's machine knows it by
first_process() {
  local at each
  for at in $(cgroup_dirs "lockstep-$slot/n$number" | grep "/$1\$"); do
    for each in $(cat "$at/cgroup.procs"); do
      grep -qs '^NSpid:.*\s1$' "/proc/$each/status" && echo "$each" && return
    done
  done
  return 0
}

kill_container() {
  local first
  need_power
  first=$(first_process "$1")
  [[ -n $first ]] || die "container $1 doesn't run on node n$number" "kubectl get pods -o yaml shows containerID, without containerd://"
  kill -KILL "$first"
}

start_node() {
  off || die "node n$number runs already"
  node_start "$number"
}

a_component() {
  [[ -e $dir/components/$1 ]] || die "there is no component $1" "there are $(cd "$dir/components" && echo *)"
}

wait_component() {
  case $1 in
    kube-apiserver) apiserver_ready ;;
    coredns) dns_ready ;;
    storage) storage_ready ;;
    *) wait_until 10 component_started "$1" || die_with_log "$1 did not start" "$dir/log/$1.log" ;;
  esac
}

# give NAME COUNT: through the node's status, where a device plugin's kubelet would note it
give() {
  local where=${1//\//~1} node=n$number patch allocatable
  allocatable="{.status.allocatable.${1//./\\.}}"
  if [[ $2 == 0 ]]; then
    patch="[{\"op\": \"remove\", \"path\": \"/status/capacity/$where\"}, {\"op\": \"remove\", \"path\": \"/status/allocatable/$where\"}]"
  else
    patch="[{\"op\": \"add\", \"path\": \"/status/capacity/$where\", \"value\": \"$2\"},
      {\"op\": \"add\", \"path\": \"/status/allocatable/$where\", \"value\": \"$2\"}]"
  fi
  "$parts/kubectl" patch node "$node" --subresource=status --type=json --patch "$patch" >/dev/null
  [[ $2 == 0 ]] || "$parts/kubectl" wait --for=jsonpath="$allocatable=$2" "node/$node" --timeout=20s >/dev/null
}

name=${LOCKSTEP_CLUSTER:-default}
[[ ${1:-} != --name ]] || { name=${2:?--name needs a value} && shift 2; }
case "${1:-} $#" in
  "kill 2" | "start 2" | "freeze 2" | "thaw 2" | "partition 2" | "heal 2" | "resource 4") load_cluster "$name" && a_node "$2" ;;
  "container 3") load_cluster "$name" && a_node "$2" ;;
  "stop 2" | "resume 2" | "restart 2") load_cluster "$name" && a_component "$2" ;;
  "-h 1" | "--help 1") usage && exit ;;
  *) usage >&2 && exit 2 ;;
esac
case $1 in
  kill) kill_node ;;
  container) kill_container "$3" ;;
  start) start_node ;;
  freeze) need_power && freeze "$pid" ;;
  thaw) need_power && thaw "$pid" ;;
  partition) need_power && in_hub ip link set "n$number" down ;;
  heal) need_power && in_hub ip link set "n$number" up ;;
  stop) component_stop "$2" KILL ;;
  resume) component_start "$2" && wait_component "$2" ;;
  restart) component_stop "$2" KILL && component_start "$2" && wait_component "$2" ;;
  resource) give "$3" "$4" ;;
esac
