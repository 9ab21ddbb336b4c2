# Sourced by self-test.sh: what tests do to a cluster: faults that are mended, nodes and resources that are made up.
# shellcheck shell=bash disable=SC2154 # shared with the script that sources it

lost() { kubectl wait --for=condition=Ready=Unknown "$@" --timeout=40s; }
back() { kubectl wait --for=condition=Ready "$@" --timeout=40s; }
allocatable() { kubectl get node n1 -o jsonpath='{.status.allocatable}'; }

extended_resources() {
  fault resource n1 nvidia.com/gpu 4
  fault resource n1 nvidia.com/mig-1g.5gb 2
  allocatable | grep '"nvidia.com/gpu":"4","nvidia.com/mig-1g.5gb":"2"'
  fault resource n1 nvidia.com/gpu 0
  fault resource n1 nvidia.com/mig-1g.5gb 0
  [[ $(allocatable) != *nvidia* ]]
}

fake_nodes() {
  "$here/fake-nodes.sh" --name "$mine" 3
  "$here/fake-nodes.sh" --name "$mine" 5
  [[ $(kubectl get nodes --selector kwok.x-k8s.io/node=fake --no-headers | grep -cw Ready) == 5 ]]
  kubectl delete node --selector kwok.x-k8s.io/node=fake
}

apiserver_restarts() {
  fault restart kube-apiserver
  kubectl get namespace self-test
}

silent_nodes() {
  fault partition n1
  fault freeze n2
  lost node/n1 node/n2
  fault heal n1
  fault thaw n2
  back node/n1 node/n2
}

killed_node() {
  fault kill n2
  lost node/n2
  fault start n2
  back node/n2
}
