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

# die_with_log WHAT LOG...
die_with_log() {
  local log
  say "error: $1"
  shift
  for log in "$@"; do
    say "the end of ${log#"$dir"/}:"
    tail -n 25 "$log" >&2 || true
  done
  exit 1
}
