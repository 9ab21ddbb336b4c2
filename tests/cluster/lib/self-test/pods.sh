# Sourced by self-test.sh: what an undisturbed cluster does.
# shellcheck shell=bash disable=SC2154 # shared with the script that sources it

two_nodes() {
  kubectl get nodes
  [[ $(kubectl get nodes --no-headers | grep -cw Ready) == 2 ]]
}

peers_meet() {
  kubectl apply -f "$here/manifests/peers.yaml"
  in_test wait --for=condition=Complete job/peers --timeout=100s || {
    in_test get pods,events
    in_test logs --selector app=peers --tail 20
    return 1
  }
  # One on each node, so that they met over the network between nodes.
  [[ $(in_test get pods --selector app=peers -o jsonpath='{.items[*].spec.nodeName}' | tr ' ' '\n' | sort -u | wc -l) == 2 ]]
}

logs_are_readable() { in_test logs job/peers --all-pods | grep "reached storage.lockstep.test:9000"; }

privileges_are_refused() {
  local said
  if said=$(in_test run rooted --image lockstep.test/tools:1 --image-pull-policy Never --privileged 2>&1); then
    echo "the pod was admitted: $said"
    return 1
  fi
  grep 'violates PodSecurity "restricted' <<<"$said" || {
    echo "$said"
    return 1
  }
}

programs() { echo "${CARGO_TARGET_DIR:-$here/../../target}/release"; }
image_is_there() { [[ -x $(programs)/../x86_64-unknown-linux-gnu/release/lockstep-agent && -x $(programs)/lockstep-worker ]]; }

image_is_reproducible() {
  local first again
  first=$("$here/image.sh" --out "$LOCKSTEP_CLUSTER_HOME/$mine/lockstep.tar")
  again=$("$here/image.sh" --out "$LOCKSTEP_CLUSTER_HOME/$mine/again.tar")
  rm "$LOCKSTEP_CLUSTER_HOME/$mine/again.tar"
  echo "$first, then $again"
  [[ $first == "$again" ]]
}

image_runs() {
  "$here/image.sh" --only-load "$LOCKSTEP_CLUSTER_HOME/$mine/lockstep.tar" --load "$mine"
  kubectl apply -f "$here/manifests/image.yaml"
  in_test wait --for=jsonpath='{.status.phase}'=Succeeded pod/agent pod/worker --timeout=60s || {
    in_test get pods,events
    return 1
  }
  in_test logs pod/agent | grep "Usage: lockstep-agent"
  in_test logs pod/worker | grep "trains one rank"
}
