# Sourced: stops a node's processes and lets them go on.
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it

# unfrozen PID: processes below PID that still run
unfrozen() {
  local each state
  for each in $(descendants "$1"); do
    state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$each/status" 2>/dev/null) || continue
    [[ $state == [TtZXD] || -z $state ]] || echo "$each"
  done
}

stop_all() {
  local each still
  still=$(unfrozen "$1")
  [[ -n $still ]] || return 0
  for each in $still; do kill -STOP "$each" 2>/dev/null || true; done
  return 1 # looked at again, because one may have started another meanwhile
}

freeze() { wait_until 10 stop_all "$1" || die "some processes of the node could not be stopped in 10 s"; }

thaw() {
  local each
  for each in $(descendants "$1"); do kill -CONT "$each" 2>/dev/null || true; done
}
