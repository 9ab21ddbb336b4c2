#!/usr/bin/env bash
# Starts a Kubernetes cluster on this machine. See --help.
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
# shellcheck source=lib/needs.sh
source "$here/lib/needs.sh"

usage() {
  cat <<USAGE
usage: tests/cluster/up.sh [--name NAME] [--nodes N] [--image TAR]... [--tether PID]

Starts a real Kubernetes with N nodes, a name service and an object store, in namespaces of its own, and prints the lines
that a shell needs to use it. Where it runs already it only prints them. Needs root; says what else is missing.

  --name NAME    what to call it; each name is a cluster of its own (default: default)
  --nodes N      number of nodes, 1 to $most_nodes (default: 2)
  --image TAR    an OCI image to import into every node; may be given again
  --tether PID   take the cluster away when this process dies, however it dies (default: it stays until down.sh)

  LOCKSTEP_CLUSTER_HOME        clusters' files (default /var/tmp/lockstep-cluster)
  LOCKSTEP_CACHE               where the parts are built once (default \${XDG_CACHE_HOME:-\$HOME/.cache}/lockstep)
  LOCKSTEP_CLUSTER_NODE_GRACE  how long a silent node counts as alive (default 10s)
  LOCKSTEP_CLUSTER_TLS         set to anything: the object store speaks TLS, with the cluster's CA
  LOCKSTEP_CLUSTER_AUDIT       set to anything: requests with this kubeconfig are noted in log/audit.log
  LOCKSTEP_CLUSTER_KEEP        set to anything: the files stay when the cluster goes, to look at the logs

Exit codes: 0 it runs, 1 it could not be started, 2 wrong arguments, 3 this machine lacks something.
USAGE
}

name=default nodes=2 tether=0 images=()
while (($#)); do
  case $1 in
    --name | --nodes | --image | --tether)
      [[ $# -ge 2 ]] || { say "$1 needs a value"; exit 2; }
      ;;&
    --name) name=$2; shift 2 ;;
    --nodes) nodes=$2; shift 2 ;;
    --image) images+=("$(readlink -f "$2")"); shift 2 ;;
    --tether) tether=$2; shift 2 ;;
    -h | --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
  esac
done
if ! [[ $nodes =~ ^[0-9]{1,3}$ ]] || ((nodes < 1 || nodes > most_nodes)); then
  say "--nodes takes 1 to $most_nodes"
  exit 2
fi
[[ $tether == 0 ]] || born "$tether" >/dev/null || { say "--tether $tether: no such process"; exit 2; }
find_cluster "$name"

lacks=$(needs)
if [[ -n $lacks ]]; then
  say "this machine lacks:"
  echo "  ${lacks//$'\n'/$'\n'  }" >&2
  exit 3
fi
parts=$("$here/build.sh")

mkdir -p "$home/.slots"
exec 7>"$home/.slots/$name.starting"
flock 7
if [[ -e $dir/ready ]] && running "$dir/pid/guard"; then
  say "$name runs already"
  cat "$dir/env"
  exit
fi
if [[ -e $dir ]]; then # one that is being taken away, or was left half taken away
  "$here/down.sh" --name "$name"
  rm -rf --one-file-system "$dir"
fi

# claim_slot: takes the first free slot, whose lock is then held through file descriptor 9
claim_slot() {
  local try
  for ((try = 0; try < slots; try++)); do
    exec 9>"$home/.slots/$try"
    flock --nonblock 9 || continue
    cgroup_remove "lockstep-$try" # what a guard left that was killed itself
    link_remove "$try"
    ip_free "$try" || continue
    address_plan "$try"
    return
  done
  die "all $slots clusters that fit on a machine run already" "tests/cluster/down.sh --all takes them away"
}
claim_slot

started=$EPOCHREALTIME
mkdir -p "$dir"/{components,images,log,nodes,pid,pki}
echo "$slot" >"$dir/slot"
echo "$parts" >"$dir/parts"
setsid "$here/lib/guard.sh" "$dir" "$slot" $$ "$tether" </dev/null >>"$dir/log/guard.log" 2>&1 7>&- &
echo "$! $(born $!)" >"$dir/pid/guard"
disown
exec 9>&-
trap 'status=$?; [[ -e $dir/ready ]] || { say "$(basename "$dir") did not start"; "$here/down.sh" --name "$(basename "$dir")"; }; exit $status' EXIT
trap 'exit 130' INT TERM

wait_until 10 test -s "$dir/pid/hub" || die_with_log "the cluster's first process did not start" "$dir/log/guard.log"
cp "$parts"/{pause,tools}.tar "$dir/images/"
for image in "${images[@]}"; do cp --reflink=auto "$image" "$dir/images/"; done
network_start
etcd_start
pki_make
storage_start # it takes longest to be ready
kubeconfig admin "$dir/kubeconfig"
apiserver_start
for ((number = 1; number <= nodes; number++)); do
  node_prepare "$number"
  node_start "$number"
done
apiserver_ready
helpers_start
dns_start
storage_ready

# api_says SECONDS WHAT ARGUMENTS...: waits for what kubectl wait is told; sooner over when a server or a node has ended
api_says() {
  local deadline=$((SECONDS + $1)) what=$2 why=""
  shift 2
  until "$parts/kubectl" --kubeconfig "$dir/kubeconfig" wait "$@" --timeout=3s >>"$dir/log/up.log" 2>&1; do
    ((SECONDS < deadline)) || why="$what in time"
    [[ -z $(ended) ]] || why="$what"
    [[ -z $why ]] || die_with_log "$why" "$dir"/nodes/*/log/{node,containerd,import,kubelet}.log
  done
}

# nodes_ready: every node has joined, and pods can be made
nodes_ready() {
  local number
  for ((number = 1; number <= nodes; number++)); do
    api_says 60 "node n$number did not join" --for=create "node/n$number"
    api_says 60 "node n$number did not become ready" --for=condition=Ready "node/n$number"
  done
  api_says 60 "no service account was made" --for=create serviceaccount/default
}
nodes_ready
dns_ready

{
  echo "export KUBECONFIG=$dir/kubeconfig"
  cat "$dir/storage.env"
  echo "export LOCKSTEP_CLUSTER=$name"
  echo "export LOCKSTEP_CLUSTER_HOME=$home"
  echo "export LOCKSTEP_CLUSTER_PARTS=$parts"
} >"$dir/env"
touch "$dir/ready"
say "$name: $nodes nodes ready after $(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $started }") s"
cat "$dir/env"
