#!/usr/bin/env bash
# Collects what check.py needs on a machine with a GPU into one folder: programs, library, data, and the check itself.
#   pack.sh FOLDER BIN LIBRARY    BIN holds the stripped programs, beside ../release/deps with the tests
set -euo pipefail
out=$1 bin=$2 library=$3
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"

# The test programs by the names that Cargo tells: `nccl` and `threads` of the c10d crate.
tests="$(cd "$root" && ${CARGO:-cargo} test --release --locked --no-run --message-format json -p lockstep-c10d --test nccl --test threads 2>/dev/null |
  python3 -c '
import json, sys
for line in sys.stdin:
    artifact = json.loads(line)
    if artifact.get("reason") == "compiler-artifact" and artifact.get("executable") and artifact["target"]["kind"] == ["test"]:
        print(artifact["target"]["name"], artifact["executable"])')"

rm -rf "$out"
mkdir -p "$out/data"
staging="$(mktemp -d)"
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging/target/release/deps" "$staging/target/lib"
cp "$bin/lockstep" "$bin/lockstep-agent" "$bin/lockstep-gpu" "$bin/lockstep-worker" "$staging/target/release/"
cp "$library" "$staging/target/lib/"
while read -r name path; do
  strip --strip-all -o "$staging/target/release/deps/$name" "$path"
done <<< "$tests"
tar -C "$staging" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c target | xz -T0 -3 > "$out/programs.tar.xz"

cp "$here/check.py" "$here/twin.py" "$root/trainer/tests/pytorch_twin.py" "$root/tests/benches/harness/noise.py" "$out/"
cp -r "$here/jobs" "$out/jobs"
cp -r "$root/datasets/digits" "$root/datasets/shakespeare" "$out/data/"
git -C "$root" rev-parse HEAD > "$out/commit"
size="$(du -sm "$out" | cut -f1)"
[ "$size" -le 60 ] || { echo "gpu-check: $out has $size MB, more than the 60 that it may" >&2; exit 1; }
echo "gpu-check: $out ($size MB); there: python3 check.py"
