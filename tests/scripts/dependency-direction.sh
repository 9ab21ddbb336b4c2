#!/usr/bin/env bash
# Checks who may depend on whom. What is not listed is forbidden; only trainer and c10d may reach libtorch.
set -euo pipefail
cd "$(dirname "$0")/../.."

allowed() {
  case $1 in
    lockstep-job | lockstep-storage | lockstep-c10d) ;;
    lockstep-render) echo lockstep-job ;;
    lockstep-storage-testing) echo lockstep-storage ;;
    lockstep-datasets | lockstep-run) echo lockstep-storage ;;
    lockstep-gpu) echo lockstep-run lockstep-storage ;;
    lockstep-agent) echo lockstep-job lockstep-run lockstep-storage ;;
    lockstep) echo lockstep-job lockstep-render lockstep-run lockstep-storage lockstep-datasets ;;
    lockstep-trainer) echo lockstep-c10d lockstep-datasets lockstep-job lockstep-run lockstep-storage ;;
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
# The floors: the launcher stands on the trainer, the trainer on the datasets. No arrow points back up, nor do tests'.
cargo metadata --format-version 1 --no-deps --locked | python3 -c '
import json, pathlib, sys
floors = ["datasets", "trainer", "launcher"]
packages = json.load(sys.stdin)["packages"]
def height(name):
    folder = next(p["manifest_path"] for p in packages if p["name"] == name)
    folder = pathlib.Path(folder).relative_to(pathlib.Path.cwd()).parts[0]
    return floors.index(folder) if folder in floors else None
ours = {p["name"] for p in packages}
bad = False
for p in packages:
    low = height(p["name"])
    for dep in ours.intersection(d["name"] for d in p["dependencies"]):
        high = height(dep)
        if low is not None and high is not None and high > low:
            print(p["name"], "stands below", dep, "and must not depend on it")
            bad = True
sys.exit(bad)
' || bad=1
[[ $bad == 0 ]] && echo "dependency direction: ok"
exit $bad
