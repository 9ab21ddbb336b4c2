#!/usr/bin/env bash
# Checks that the tests that docs/src/security.md names exist.
set -euo pipefail
cd "$(dirname "$0")/../.."

bad=0
for name in $(grep '^|' docs/src/security.md | grep -o '`[a-z0-9_]*_[a-z0-9_]*`' | tr -d '`' | sort -u); do
  git grep -q "fn $name(" -- '*.rs' || { echo "docs/src/security.md names the test $name, which doesn't exist"; bad=1; }
done
for path in $(grep '^|' docs/src/security.md | grep -o '`[a-z0-9_/-]*\.rs`' | tr -d '`' | sort -u); do
  [[ -f $path ]] || { echo "docs/src/security.md names $path, which doesn't exist"; bad=1; }
done
[[ $bad == 0 ]] && echo "named tests: ok"
exit $bad
