#!/usr/bin/env bash
# down.sh [--name NAME | --all]: takes a cluster away and waits until nothing of it is left. Without one it does nothing.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
# shellcheck source=lib/cgroup.sh
source "$here/lib/cgroup.sh"

take_away() {
  local slot
  find_cluster "$1"
  [[ -d $dir ]] || return 0
  slot=$(cat "$dir/slot" 2>/dev/null) || true
  if running "$dir/pid/guard"; then
    kill -TERM "$(pid_in "$dir/pid/guard")"
  fi
  [[ -n $slot ]] || return 0
  # The guard holds the slot's lock until everything is gone.
  exec 9>"$home/.slots/$slot"
  flock --timeout 120 9 || die "the guard of $1 did not finish within 120 s" "its log is $dir/log/guard.log"
  cgroup_remove "lockstep-$slot" || die "control groups lockstep-$slot could not be removed"
  [[ -n ${LOCKSTEP_CLUSTER_KEEP:-} ]] || rm -rf --one-file-system "$dir"
  exec 9>&-
}

case ${1:-} in
  "") take_away default ;;
  --name) take_away "${2:?--name needs a value}" ;;
  --all)
    for each in "$home"/*/; do [[ ! -d $each ]] || take_away "$(basename "$each")"; done
    ;;
  *)
    sed -n 's/^# \(down.sh.*\)/usage: tests\/cluster\/\1/p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
