#!/usr/bin/env bash
# Checks who may depend on whom. What is not listed is forbidden; only trainer and c10d may reach libtorch.
set -euo pipefail
cd "$(dirname "$0")/../.."

allowed() {
  case $1 in
    lockstep-jobspec | lockstep-storage | lockstep-c10d) ;;
    lockstep-render) echo lockstep-jobspec ;;
    lockstep-storage-testing) echo lockstep-storage ;;
    lockstep-datasets | lockstep-run) echo lockstep-storage ;;
    lockstep-agent) echo lockstep-jobspec lockstep-run lockstep-storage ;;
    lockstep) echo lockstep-jobspec lockstep-render lockstep-run lockstep-storage lockstep-datasets ;;
    lockstep-trainer) echo lockstep-c10d lockstep-datasets lockstep-jobspec lockstep-run lockstep-storage ;;
    *) echo any ;;
  esac
}

bad=0
for package in $(cargo metadata --format-version 1 --no-deps --locked | python3 -c 'import json,sys
for p in json.load(sys.stdin)["packages"]: print(p["name"])'); do
  tree=$(cargo tree --locked -p "$package" -e normal,build --prefix none --format '{p}' | cut -d' ' -f1 | sort -u)
  may=" $(allowed "$package" | tr '\n' ' ') "
  [[ $may == *" any "* ]] && continue
  for dep in $(grep '^lockstep' <<<"$tree"); do
    [[ $dep == "$package" || $may == *" $dep "* ]] || { echo "$package must not depend on $dep"; bad=1; }
  done
  if [[ $package != lockstep-trainer && $package != lockstep-c10d ]] && grep -qE '^(tch|torch-sys)$' <<<"$tree"; then
    echo "$package must not link libtorch"
    bad=1
  fi
done
[[ $bad == 0 ]] && echo "dependency direction: ok"
exit $bad
