#!/usr/bin/env bash
# Trains the digits twice: once in peace, and once while `lockstep chaos` kills a worker or an agent every few seconds. Both end with the
# same bytes, and the progress of the second goes on and on.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${1:?usage: tests/scripts/chaos-demo.sh FOLDER-WITH-THE-PROGRAMS}
job=(-f trainer/examples/digits.yaml --local --set nodes=4 --set train.steps=30000 --set eval.every=10000steps
  --set checkpoint.every=100000steps --set log.every=100steps --fresh)

echo "In peace:"
"$bin/lockstep" launch "${job[@]}" --run-dir runs/calm
echo
echo "And with a fault every few seconds; its only checkpoint is the last one, so what is lost would be lost for good:"
"$bin/lockstep" launch "${job[@]}" --run-dir runs/chaos &
run=$!
trap 'kill "$run" 2> /dev/null || true' EXIT
until "$bin/lockstep" status runs/chaos --output json 2> /dev/null | grep -q '"phase": "running"'; do
  kill -0 "$run" || exit 1
  sleep 0.2
done
"$bin/lockstep" chaos runs/chaos --kill worker --kill agent --every 1s --for 20s --seed 7 --against runs/calm 2> /dev/null
wait "$run"
trap - EXIT
