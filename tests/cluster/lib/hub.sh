#!/usr/bin/env bash
# hub.sh DIR: the first process of a cluster, alone in its namespaces. It makes the switch that nodes are plugged into and
# then only reaps; servers and nodes are started beside it. /proc is still the machine's, so numbers read there are too.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
dir=$1
ip link set lo up
ip link add switch type bridge
ip link set switch up
echo 1 >/proc/sys/net/ipv4/ip_forward
read -r pid _ </proc/self/stat
echo "$pid $(born "$pid")" >"$dir/pid/.hub"
mv "$dir/pid/.hub" "$dir/pid/hub"
while true; do
  sleep infinity &
  wait
done
