#!/usr/bin/env bash
# private-tmp.sh FOLDER... -- COMMAND...: in a mount namespace of its own (unshare --mount), gives it an empty /tmp that is
# gone with it, and runs the command. The folders stay where they are, also where they lie in /tmp themselves.
set -euo pipefail
keep=()
while [[ $1 != -- ]]; do
  [[ $1 != /tmp/* ]] || keep+=("$1")
  shift
done
shift
opened=()
for folder in "${keep[@]}"; do
  exec {number}<"$folder"
  opened+=("$number")
done
mount -t tmpfs -o mode=1777 private /tmp
for each in "${!keep[@]}"; do
  number=${opened[each]}
  mkdir -p "${keep[each]}"
  # As it is: the name behind the number already means what lies in the new /tmp.
  mount --no-canonicalize --bind "/proc/self/fd/$number" "${keep[each]}"
  exec {number}<&-
done
exec "$@"
