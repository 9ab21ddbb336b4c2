#!/usr/bin/env bash
# Shows that the harness does what tests build on. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
# shellcheck source=lib/check.sh
source "$here/lib/check.sh"

usage() {
  cat <<USAGE
usage: tests/cluster/self-test.sh [--quick]

Starts a cluster, shows that pods, names, Pod Security, logs, storage, Lockstep's image, faults and clean-up work on it,
and takes it away. --quick leaves the faults out.

  LOCKSTEP_CLUSTER_TLS       set to anything: with an object store that speaks TLS
  LOCKSTEP_REQUIRE_CLUSTER   set to 1: a machine that can't run a cluster is a failure, not a skipped test
USAGE
}

quick=""
case "${1:-}" in
  "") ;;
  --quick) quick=yes ;;
  -h | --help) usage && exit ;;
  *) usage >&2 && exit 2 ;;
esac

LOCKSTEP_CLUSTER_HOME=$home
export LOCKSTEP_CLUSTER_HOME
mine=self-test-$$ second=tethered-$$

finish() {
  "$here/down.sh" --name "$mine" || failed=$((failed + 1))
  "$here/down.sh" --name "$second" || failed=$((failed + 1))
}
trap finish EXIT
trap 'exit 130' INT TERM

status=0
exports=$("$here/up.sh" --name "$mine" --tether $$) || status=$?
if [[ $status == 3 && ${LOCKSTEP_REQUIRE_CLUSTER:-} != 1 ]]; then
  trap - EXIT
  echo "skipped: the cluster's tests, because this machine lacks what is named above"
  exit
fi
[[ $status == 0 ]] || exit 1
eval "$exports"
kubectl() { "$LOCKSTEP_CLUSTER_PARTS/kubectl" "$@"; }
fault() { "$here/fault.sh" --name "$mine" "$@"; }
in_test() { kubectl --namespace self-test "$@"; }

# shellcheck source=lib/self-test/pods.sh
source "$here/lib/self-test/pods.sh"
# shellcheck source=lib/self-test/storage.sh
source "$here/lib/self-test/storage.sh"
# shellcheck source=lib/self-test/faults.sh
source "$here/lib/self-test/faults.sh"
# shellcheck source=lib/self-test/leaks.sh
source "$here/lib/self-test/leaks.sh"

check "two nodes are ready" two_nodes
check "pods of a Job meet by name and reach storage, under restricted Pod Security" peers_meet
check "logs of pods are read through the API" logs_are_readable
check "a pod that asks for more than Pod Security allows is refused" privileges_are_refused
check "the object store keeps to conditional puts" bucket probe lockstep self-test
check "of 16 that create an object at the same moment one succeeds, 100 times" bucket race lockstep self-test 100
check "a key of its own reaches its own folder and no other, until it is revoked" scoped_key
check "unknown keys and wrong secrets are refused" unknown_keys
[[ $AWS_ENDPOINT_URL != https://* ]] || check "the object store speaks TLS" store_speaks_tls
if image_is_there; then
  check "Lockstep's image is the same when it is made twice" image_is_reproducible
  check "Lockstep's image runs without a shell, root or a writable disk" image_runs
else
  echo "skipped: Lockstep's image, because lockstep-agent and lockstep-worker are not built (make build)"
fi
if [[ -z $quick ]]; then
  check "a node gets extended resources" extended_resources
  check "fake nodes are ready, and more can be added" fake_nodes
  check "a restarted API server is back" apiserver_restarts
  check "a restarted object store has its objects and keys as they were" storage_restarts
  check "a partitioned and a frozen node are lost, and come back" silent_nodes
  check "a killed node is lost with its pods, and comes back" killed_node
fi
check "kill -9 of the process that a cluster is tethered to leaves nothing" tether_leaves_nothing
check "kill -9 of what starts a cluster, half way, leaves nothing" starter_leaves_nothing
check "kill -9 of a cluster's guard leaves no process, and the next cluster takes the rest" guard_leaves_nothing

verdict
