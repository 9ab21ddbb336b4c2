# Sourced: servers that run in the hub, each with a command in $dir/components, a number in $dir/pid and a log in $dir/log.
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it

in_hub() { nsenter --target "$(pid_in "$dir/pid/hub")" --mount --net --pid --uts --ipc "$@"; }

# component NAME COMMAND...: notes how the server is started, and starts it
component() {
  local name=$1
  shift
  {
    echo '#!/usr/bin/env bash'
    echo 'read -r pid _ </proc/self/stat # the machine'"'"'s number for this process, because /proc is the machine'"'"'s'
    # shellcheck disable=SC2016
    printf 'echo "$pid" >%q\n' "$dir/pid/$name"
    printf 'cd %q && exec' "$dir"
    printf ' %q' "$@"
    echo
  } >"$dir/components/$name"
  component_start "$name"
}

component_start() {
  rm -f "$dir/pid/$1"
  setsid nsenter --target "$(pid_in "$dir/pid/hub")" --mount --net --pid --uts --ipc \
    bash "$dir/components/$1" </dev/null >>"$dir/log/$1.log" 2>&1 7>&- &
  disown
}

component_started() { [[ -s $dir/pid/$1 ]] && born "$(pid_in "$dir/pid/$1")"; }

# component_stop NAME SIGNAL
component_stop() {
  local pid since
  pid=$(pid_in "$dir/pid/$1") && since=$(born "$pid") || return 0
  kill "-$2" "$pid"
  wait_until 20 eval "[[ \$(born $pid) != $since ]]" || die "$1 did not stop within 20 s of SIG$2"
}

# component_ready NAME SECONDS COMMAND...: waits for the command's success; says what is wrong when it doesn't come
component_ready() {
  local name=$1 seconds=$2 deadline=$((SECONDS + $2)) why=""
  shift 2
  wait_until 5 component_started "$name" || why="did not start"
  while [[ -z $why ]] && ! "$@" >/dev/null 2>&1; do
    component_started "$name" >/dev/null || why="ended"
    ((SECONDS < deadline)) || why="was not ready within $seconds s"
    sleep 0.1
  done
  [[ -z $why ]] || die_with_log "$name $why" "$dir/log/$name.log"
}

# ended: the servers and nodes that were started and no longer run
ended() {
  local each name
  for each in "$dir"/components/*; do
    name=$(basename "$each")
    [[ ! -s $dir/pid/$name ]] || component_started "$name" >/dev/null || echo "$name"
  done
  for each in "$dir"/nodes/*/pid; do
    [[ ! -s $each ]] || running "$each" || basename "$(dirname "$each")"
  done
}

# die_with_log WHAT LOG...: shows the last lines of the logs, or of those who have ended, as they are the likelier reason
die_with_log() {
  local log each
  say "error: $1"
  for each in $(ended); do
    say "$each has ended"
    [[ -d $dir/nodes/$each ]] || set -- "" "$dir/log/$each.log"
  done
  shift
  for log in "$@"; do
    [[ -s $log ]] || continue
    say "the end of ${log#"$dir"/}:"
    tail -n 15 "$log" >&2
  done
  exit 1
}
