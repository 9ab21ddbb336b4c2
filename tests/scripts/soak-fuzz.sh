#!/usr/bin/env bash
# Runs every fuzz target for LOCKSTEP_FUZZ_SECONDS and prints how many inputs each took. In the crates under test arithmetic
# that overflows panics, as it doesn't in a release.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LOCKSTEP_FUZZ_SECONDS=${LOCKSTEP_FUZZ_SECONDS:-60}

config=()
for crate in datasets storage run agent job trainer; do
  config+=(--config "profile.release.package.lockstep-$crate.overflow-checks=true")
done
log=$(mktemp)
trap 'rm -f "$log"' EXIT

targets() {
  "${CARGO:-cargo}" test --release --locked "${config[@]}" "$@" >"$log" 2>&1 || { cat "$log"; exit 1; }
  grep -oE 'fuzz [a-z0-9-]+: [0-9]+ inputs' "$log"
}

# The whole workspace, so that dependencies are those of every other target of the Makefile.
targets --workspace --test fuzz -- --nocapture
targets --workspace --test datasets fuzz:: -- --nocapture
targets --workspace --lib fuzz -- --nocapture
