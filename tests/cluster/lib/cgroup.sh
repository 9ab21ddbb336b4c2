# Sourced: control groups of the nodes, on both versions of the kernel's interface.
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it
cgroups=/sys/fs/cgroup

unified() { [[ -e $cgroups/cgroup.controllers ]]; }

# cgroup_make PATH: the folder PATH below the root of each hierarchy, ready to hold pods
cgroup_make() {
  local base at part
  if unified; then
    at=$cgroups
    for part in ${1//\// }; do
      sed 's/\</+/g' "$at/cgroup.controllers" >"$at/cgroup.subtree_control"
      at=$at/$part
      mkdir -p "$at"
    done
    return
  fi
  for base in "$cgroups"/*/; do
    mountpoint -q "$base" && [[ ! -e $base/cgroup.controllers ]] && mkdir -p "$base$1"
  done
  # A new cpuset has no processor and no memory until it is given some.
  at=$cgroups/cpuset
  for part in ${1//\// }; do
    grep -q . "$at/$part/cpuset.cpus" || cat "$at/cpuset.cpus" >"$at/$part/cpuset.cpus"
    grep -q . "$at/$part/cpuset.mems" || cat "$at/cpuset.mems" >"$at/$part/cpuset.mems"
    at=$at/$part
  done
}

# cgroup_dirs PATH: every folder of PATH in every hierarchy, innermost first
cgroup_dirs() {
  local base
  for base in "$cgroups" "$cgroups"/*/; do
    [[ -d $base/$1 ]] && find "$base/$1" -depth -type d 2>/dev/null
  done
  return 0
}

cgroup_try_remove() {
  cgroup_dirs "$1" | xargs -r rmdir 2>/dev/null
  [[ -z $(cgroup_dirs "$1") ]]
}

# cgroup_remove PATH: ends what still runs in PATH and takes the folders away
cgroup_remove() {
  cgroup_dirs "$1" | while read -r at; do
    xargs -r kill -KILL 2>/dev/null <"$at/cgroup.procs" || true
  done
  wait_until 10 cgroup_try_remove "$1"
}
