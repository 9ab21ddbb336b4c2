#!/usr/bin/env bash
# Licences, sources and duplicates by cargo-deny, built once into the cache. Advisories need their database from the
# network; they are checked where it can be had (`DENY_ADVISORIES=1`).
set -euo pipefail
cd "$(dirname "$0")/../.."
version=0.20.2
root=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}/cargo-deny-$version
if [[ ! -x $root/bin/cargo-deny ]]; then
  echo "building cargo-deny $version into $root"
  CARGO_TARGET_DIR=$root/target cargo install --quiet --locked --root "$root" --version "=$version" cargo-deny
  rm -rf "$root/target"
fi
"$root/bin/cargo-deny" --all-features --locked check ${DENY_ADVISORIES:+advisories} bans licenses sources
