#!/usr/bin/env bash
# guard.sh DIR SLOT STARTER TETHER: owns a cluster. It starts the process that everything else of the cluster lives under,
# and takes the cluster away when told to (SIGTERM), when that process ends, when the starter dies before the cluster is
# ready, or when the tether (a process number, 0 for none) dies. File descriptor 9 holds the slot's lock until it is done.
set -euo pipefail
lib=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
dir=$1 slot=$2 starter=$3 tether=$4
# shellcheck source=common.sh
source "$lib/common.sh"
# shellcheck source=address.sh
source "$lib/address.sh"
# shellcheck source=cgroup.sh
source "$lib/cgroup.sh"

stop=""
trap 'stop="told to"' TERM INT HUP
starter_born=$(born "$starter") || stop="the starter died"
tether_born=$([[ $tether == 0 ]] || born "$tether") || stop="the process it was tethered to died"

# When the first process of a process namespace dies, the kernel ends all others in it: containers, kubelets, servers.
# Their mounts and networks are gone with them. Both links of the chain above it die with their parents.
setpriv --pdeathsig KILL unshare --mount --net --pid --uts --ipc --fork --kill-child=KILL "$lib/hub.sh" "$dir" 9>&- &
hub=$!

# A read from a pipe that nobody writes to is a pause that starts no process.
exec 8<> <(:)
while [[ -z $stop ]]; do
  read -rt 0.3 -u 8 _ || true
  born "$hub" >/dev/null || stop="its first process ended"
  [[ -e $dir/ready || $(born "$starter") == "$starter_born" ]] || stop="the starter died"
  [[ $tether == 0 || $(born "$tether") == "$tether_born" ]] || stop="the process it was tethered to died"
done

echo "guard: taking the cluster away: $stop"
rm -f "$dir/ready"
[[ ! -e $dir/pid/hub ]] || ! running "$dir/pid/hub" || kill -KILL "$(pid_in "$dir/pid/hub")"
kill -KILL "$hub" 2>/dev/null || true
wait "$hub" || true
link_remove "$slot"
cgroup_remove "lockstep-$slot" || echo "guard: control groups lockstep-$slot could not be removed"
[[ -n ${LOCKSTEP_CLUSTER_KEEP:-} ]] || rm -rf "$dir"
