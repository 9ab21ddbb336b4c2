#!/usr/bin/env bash
# Random faults on real runs, for as many seeds as asked; adds a line to the table of all such campaigns.
set -euo pipefail
cd "$(dirname "$0")/../.."
seeds=${1:?usage: tests/scripts/soak-recovery.sh FROM..TO}
table=tests/benches/results/recovery-campaigns.md
line=$(mktemp)
trap 'rm -f "$line"' EXIT
status=0
LOCKSTEP_SEEDS=$seeds LOCKSTEP_CAMPAIGN_TABLE=$line \
  "${CARGO:-cargo}" test --release --locked -p lockstep-e2e --test campaign -- --nocapture || status=$?
[[ -s $line ]] || exit "$status"
if [[ ! -e $table ]]; then
  cat > "$table" <<'HEAD'
# Campaigns of random faults

Each line is one `make soak-recovery SEEDS=from..to`: real agents and workers on one machine, 2 to 4 nodes, each run with 3 to 6 faults
(`tests/campaign/fault.rs`). A run is broken where its end has other bytes than an undisturbed run's, or its records break a promise
(`tests/campaign/check.rs`). Where a worker survives all faults of a run, no step is repeated; the repeated steps are those of the others.

| date | commit | seeds | runs | faults | generations | repeated steps | broken | time |
|---|---|---|---|---|---|---|---|---|
HEAD
fi
echo "| $(date -u +%F) | $(git describe --always --dirty) $(cat "$line")" >> "$table"
tail -n 1 "$table"
exit "$status"
