#!/usr/bin/env bash
# Runs the tests of tests/on-cluster on a cluster of their own. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
checkout=$(readlink -f "$here/../..")

usage() {
  cat <<USAGE
usage: tests/cluster/run-tests.sh [--alone] TEST...

Starts a cluster, gives it Lockstep's image and the digits, runs these test files of tests/on-cluster, and takes it away.
Uses what \`make test-binaries\` built.

  --alone   one test after the other, for tests that break machines

  LOCKSTEP_REQUIRE_CLUSTER   set to 1: a machine that can't run a cluster is a failure, not a skipped test
  LOCKSTEP_TEST_KUBECONFIG   use this cluster of yours instead; then also set
  LOCKSTEP_TEST_IMAGE        Lockstep's image, where its machines find it
  LOCKSTEP_TEST_STORAGE      a bucket, like s3://bucket/tests, that its pods and this machine reach with these:
  AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
USAGE
}

# Tests that only a cluster of up.sh's can take.
OF_THE_HARNESS="nodes keys fleet tls python clouds"
threads=3 skip=()
case "${1:-}" in
  "") usage >&2 && exit 2 ;;
  -h | --help) usage && exit ;;
  --alone) threads=1 && shift ;;
esac
tests=()
for test in "$@"; do tests+=(--test "$test"); done
bin=${CARGO_TARGET_DIR:-$checkout/target}/release
mine=tests-$$

if [[ -n ${LOCKSTEP_TEST_KUBECONFIG:-} ]]; then
  export KUBECONFIG=$LOCKSTEP_TEST_KUBECONFIG
  : "${LOCKSTEP_TEST_IMAGE:?is not set; see --help}" "${LOCKSTEP_TEST_STORAGE:?is not set; see --help}"
  for test in "${tests[@]}"; do
    case " $OF_THE_HARNESS " in *" $test "*) die "the tests of $test need what only this harness has, such as machines to break" "leave them out" ;; esac
  done
  "$bin/lockstep" data copy "$checkout/datasets/digits" "$LOCKSTEP_TEST_STORAGE/datasets/digits"
  skip=(--skip has_nothing_but_a_program --skip an_agent_that_is_killed)
  echo "skipped: has_nothing_but_a_program, whose image only this harness has"
  echo "skipped: an_agent_that_is_killed, by a process outside of its container"
else
  status=0
  exports=$("$here/demo.sh" --bin "$bin" --name "$mine" --tether $$) || status=$?
  trap '"$here/down.sh" --name "$mine"' EXIT
  trap 'exit 130' INT TERM
  if [[ $status == 3 && ${LOCKSTEP_REQUIRE_CLUSTER:-} != 1 ]]; then
    trap - EXIT
    echo "skipped: the tests on a cluster (the lines above say what is missing)"
    exit 0
  fi
  [[ $status == 0 ]] || exit "$status"
  set -a
  eval "$exports"
  set +a
fi
cd "$checkout"
cargo test --workspace --release --locked "${tests[@]}" -- --test-threads="$threads" "${skip[@]}"
