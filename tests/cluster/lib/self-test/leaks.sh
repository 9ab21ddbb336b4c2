# Sourced by self-test.sh: nothing of a cluster outlives it.
# shellcheck shell=bash disable=SC2154 # shared with the script that sources it

second_dir() { echo "$LOCKSTEP_CLUSTER_HOME/$second"; }

# traces SLOT HUB: what is left of a cluster, one line each
traces() {
  local process
  for process in /proc/[0-9]*; do
    # Processes of the cluster either mention its folder or live in its network.
    tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -F "$(second_dir)" || true
  done
  [[ -z $2 || ! -e /proc/$2 ]] || echo "process $2"
  find /sys/fs/cgroup -maxdepth 2 -name "lockstep-$1"
  ip -brief link show 2>/dev/null | grep "^lockstep$1[ @]" || true
  grep -F "$(second_dir)" /proc/mounts || true
  find "$(second_dir)" -maxdepth 0 2>/dev/null || true
}

nothing_left() { [[ -z $(traces "$@") ]]; }

expect_nothing_left() {
  wait_until 20 nothing_left "$@" || {
    echo "left after 20 s:"
    traces "$@"
    return 1
  }
}

# in_pods: whether the second cluster has come so far that a node runs containerd
half_way() { [[ -s $(second_dir)/nodes/n1/pid && -s $(second_dir)/pid/kube-apiserver ]]; }

in_second() { KUBECONFIG=$(second_dir)/kubeconfig kubectl "$@"; }

pod_is_there() { [[ -n $(in_second get pods --selector job-name=left --output name) ]]; }

tether_leaves_nothing() {
  local slot hub tether
  sleep infinity &
  tether=$!
  # shellcheck disable=SC2064 # the variable is gone when the shell of this test ends
  trap "kill -KILL $tether 2>/dev/null || true" EXIT
  "$here/up.sh" --name "$second" --nodes 1 --tether "$tether"
  slot=$(cat "$(second_dir)/slot") hub=$(pid_in "$(second_dir)/pid/hub")
  in_second create job left --image lockstep.test/tools:1 -- /peer 7000 1
  # `kubectl wait` fails at once where there is nothing yet to wait for.
  wait_until 20 pod_is_there
  in_second wait --for=jsonpath='{.status.phase}'=Running pod --selector job-name=left --timeout=60s
  kill -KILL "$tether"
  expect_nothing_left "$slot" "$hub"
}

starter_leaves_nothing() {
  local slot hub starter
  "$here/up.sh" --name "$second" --nodes 1 &
  starter=$!
  wait_until 60 half_way
  slot=$(cat "$(second_dir)/slot") hub=$(pid_in "$(second_dir)/pid/hub")
  kill -KILL "$starter"
  expect_nothing_left "$slot" "$hub"
}

guard_leaves_nothing() {
  local slot hub
  "$here/up.sh" --name "$second" --nodes 1
  slot=$(cat "$(second_dir)/slot") hub=$(pid_in "$(second_dir)/pid/hub")
  kill -KILL "$(pid_in "$(second_dir)/pid/guard")"
  wait_until 20 eval "[[ ! -e /proc/$hub ]]"
  "$here/up.sh" --name "$second" --nodes 1
  [[ $(cat "$(second_dir)/slot") == "$slot" ]]
  hub=$(pid_in "$(second_dir)/pid/hub")
  "$here/down.sh" --name "$second"
  expect_nothing_left "$slot" "$hub"
}
