#!/usr/bin/env bash
# Shows that Lockstep's jobs get along with Kueue. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
# shellcheck source=lib/check.sh
source "$here/lib/check.sh"
checkout=$(readlink -f "$here/../..")

usage() {
  cat <<USAGE
usage: tests/cluster/kueue-test.sh [--bin FOLDER]

Starts a cluster with Kueue, gives a team the queue of manifests/components/kueue, and shows that a job is admitted whole
or waits, that one of higher priority drives away one that then carries on, and that cancel and resume go through Kueue. As root.

  --bin FOLDER   where the programs are (default: target/release)

  LOCKSTEP_REQUIRE_CLUSTER   set to 1: a machine that can't run a cluster is a failure, not a skipped test
USAGE
}

bin=${CARGO_TARGET_DIR:-$checkout/target}/release
case "${1:-}" in
  "") ;;
  -h | --help) usage && exit ;;
  --bin) bin=$(readlink -f "${2:?--bin needs a value}") ;;
  *) usage >&2 && exit 2 ;;
esac

mine=kueue-$$ work=$(mktemp -d)
finish() {
  "$here/down.sh" --name "$mine" || failed=$((failed + 1))
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
status=0
exports=$("$here/demo.sh" --bin "$bin" --name "$mine" --tether $$) || status=$?
if [[ $status == 3 && ${LOCKSTEP_REQUIRE_CLUSTER:-} != 1 ]]; then
  echo "skipped: the tests with Kueue (the lines above say what is missing)"
  exit
fi
[[ $status == 0 ]] || exit 1
set -a
eval "$exports"
set +a
"$here/kueue.sh" --name "$mine"
in_team() { kubectl --namespace team-a "$@"; }
launch() {
  local name=$1
  shift
  lockstep launch -f "$checkout/trainer/examples/digits-cluster.yaml" -n team-a --set name="$name" \
    --set kubernetes.queue=training --set checkpoint.every=2000steps --set log.every=20000steps "$@"
}

# The example overlay as a platform team would change it, with room for one job of two pods.
queue_is_accepted() {
  cp -r "$checkout/manifests" "$work/"
  sed -i 's#^- ../../components/priorities#&\n- ../../components/kueue#' "$work/manifests/overlays/team-a/kustomization.yaml"
  sed -i 's/nominalQuota: "256"/nominalQuota: "1"/; s/nominalQuota: 1Ti/nominalQuota: 2Gi/' "$work/manifests/components/kueue/queues.yaml"
  kubectl apply --server-side --validate=strict -k "$work/manifests/overlays/team-a"
  kubectl wait --for=condition=Active clusterqueue/training --timeout=20s
  in_team wait --for=condition=Active localqueue/training --timeout=20s
  kubectl get secret s3 --output json | python3 -c 'import json, sys
secret = json.load(sys.stdin)
secret["metadata"] = {"name": "s3"}
json.dump(secret, sys.stdout)' | in_team apply --server-side -f -
}

digits_are_admitted() {
  launch digits 2>&1 | tee "$work/admitted"
  grep "admitted .*by queue training" "$work/admitted"
  [[ $(workload digits .status.admission.podSetAssignments[0].count) == 2 ]]
}

# workload JOB FIELD: of what Kueue writes down about a job
workload() { in_team get workloads -o jsonpath="{.items[?(@.metadata.ownerReferences[0].name==\"$1\")]$2}"; }

generation() { lockstep status "$1" -n team-a --output json | python3 -c 'import json, sys; print(json.load(sys.stdin)["generation"])'; }

waits_as_a_whole() {
  local status=0 said
  launch low --set train.epochs=30000 --set kubernetes.priorityClass=training-low --wait=first-step
  said=$(launch late --set kubernetes.priorityClass=training-low --set kubernetes.startTimeout=5s 2>&1) || status=$?
  echo "$said"
  [[ $status == 3 ]]
  grep "Kueue: queue training holds the job back: .*insufficient unused quota" <<<"$said"
  # Not one of its two pods was made.
  ! grep "scheduled" <<<"$said"
}

makes_room_and_carries_on() {
  local before
  before=$(generation low)
  launch high --set kubernetes.priorityClass=training-high
  wait_until 60 carried_on "$before"
  lockstep events low -n team-a
}

# Kueue starts a Job again that somebody else has suspended, so it must be Kueue that holds it.
is_held_and_let_go() {
  local before
  before=$(generation low)
  lockstep cancel low -n team-a
  [[ $(workload low .spec.active) == false ]]
  lockstep status low -n team-a | tee "$work/held"
  grep "Kueue: queue training holds the job back: .*deactivated" "$work/held"
  lockstep resume low -n team-a
  wait_until 60 carried_on "$before"
  lockstep delete low -n team-a
}

carried_on() { (($(generation low) > $1)); }

check "the queue of manifests/ is accepted by Kueue, strictly" queue_is_accepted
check "the digits are admitted, both pods at once, and train" digits_are_admitted
check "a job for which there is no room waits as a whole, and says why" waits_as_a_whole
check "a job of higher priority drives it away; it carries on afterwards" makes_room_and_carries_on
check "a run that is cancelled is held by Kueue until it is resumed" is_held_and_let_go
verdict
