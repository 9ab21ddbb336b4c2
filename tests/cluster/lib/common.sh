# Sourced by the harness's scripts: where things lie, how they speak, how they wait.
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it
here=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
# Clusters' own files; containers' layers need a file system that overlayfs takes as its upper side, which tmpfs may not be.
home=${LOCKSTEP_CLUSTER_HOME:-/var/tmp/lockstep-cluster}

say() { echo "cluster: $*" >&2; }

# die WHAT [HINT...]
die() {
  say "error: $1"
  shift
  local hint
  for hint in "$@"; do say "  $hint"; done
  exit 1
}

# wait_until SECONDS COMMAND...: runs the command until it succeeds; fails when the time is over
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# born PID: when the process started, in ticks since boot; nothing and failure when it is gone or only waits to be reaped.
# Together with its number this names a process for good, because numbers are used again.
born() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != [ZX] ]] || return 1
  echo "${fields[19]}"
}

# running FILE: whether the process that wrote FILE ("PID BORN") still runs
running() {
  local pid since
  read -r pid since 2>/dev/null <"$1" || return 1
  [[ $(born "$pid") == "$since" ]]
}

# pid_in FILE
pid_in() {
  local pid
  read -r pid _ <"$1" && echo "$pid"
}

# descendants PID: every process below PID, PID itself left out
descendants() {
  local child children
  read -ra children 2>/dev/null <"/proc/$1/task/$1/children" || true
  for child in "${children[@]}"; do
    echo "$child"
    descendants "$child"
  done
}

# find_cluster NAME: sets dir to the cluster's folder
find_cluster() {
  [[ $1 =~ ^[a-z][a-z0-9-]{0,30}$ ]] || die "\"$1\" is no name for a cluster" "use up to 31 of a-z, 0-9 and -, a letter first"
  dir=$home/$1
}

# http_ok HOST PORT PATH: whether a GET is answered with 200
http_ok() {
  local status
  exec 8<>"/dev/tcp/$1/$2" || return 1
  printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$3" "$1" >&8
  read -rt 2 status <&8 || status=""
  exec 8>&-
  [[ $status == HTTP/1.?" 200"* ]]
}
