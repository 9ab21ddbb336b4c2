#!/usr/bin/env bash
# What a user does who has nothing of this repository: a crate from `lockstep new`, built and trained. See --help.
set -euo pipefail
checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

usage() {
  cat <<USAGE
usage: tests/scripts/new-crate.sh --bin FOLDER [--fetch]

Makes a crate with the lockstep in FOLDER, in a folder and with a HOME that hold nothing else, runs the two commands that it
prints, and looks at the accuracy. Nothing that is built elsewhere is used: it takes ten minutes on two cores.

  --fetch   fetch libtorch too (544 MB), instead of using the one in this user's cache
USAGE
}

bin=""
cache="${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}"
while [ $# -gt 0 ]; do
  case "$1" in
    --bin) bin="$(cd "$2" && pwd)"; shift ;;
    --fetch) cache="" ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[ -n "$bin" ] || { usage >&2; exit 2; }

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/home" "$work/elsewhere"
# Rust stays where it is, and so do the crates that Cargo has fetched; no setting of this shell reaches the build.
clean=(env -i "HOME=$work/home" "LOCKSTEP_CACHE=${cache:-$work/home/.cache/lockstep}"
  "PATH=$bin:$PATH" "CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}" "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}"
  "KUBECONFIG=$work/none")
for name in RUSTUP_TOOLCHAIN CARGO_NET_OFFLINE http_proxy https_proxy no_proxy; do
  [ -z "${!name:-}" ] || clean+=("$name=${!name}")
done

cd "$work/elsewhere"
"${clean[@]}" lockstep new my-model --lockstep "$checkout" > commands
cat commands
time "${clean[@]}" bash -euo pipefail commands

metrics="$("${clean[@]}" lockstep metrics my-model/runs/my-model --output json)"
accuracy="$(grep -oE '"accuracy": *[0-9.]+' <<< "$metrics" | tail -1 | grep -oE '[0-9.]+$')" ||
  { echo "new-crate: no accuracy in: $metrics" >&2; exit 1; }
awk -v accuracy="$accuracy" 'BEGIN { exit !(accuracy > 0.95) }' ||
  { echo "new-crate: the accuracy is $accuracy" >&2; exit 1; }
echo "new-crate: ok, accuracy $accuracy"
