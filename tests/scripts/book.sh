#!/usr/bin/env bash
# Builds the book in docs/ into the folder that is named, with mdbook, which is compiled once into the cache.
# Without its default features it has no search and no live preview, and needs fewer crates.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=0.5.4
root=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}/mdbook-$version
if [[ ! -x $root/bin/mdbook ]]; then
  echo "building mdbook $version into $root"
  CARGO_TARGET_DIR=$root/target cargo install --quiet --locked --no-default-features --root "$root" --version "=$version" mdbook
  rm -rf "$root/target"
fi
"$root/bin/mdbook" build docs --dest-dir "$1"
