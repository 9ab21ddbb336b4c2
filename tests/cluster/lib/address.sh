# Sourced: the addresses of a cluster. Each cluster has a slot of its own, so that several can run on one machine.
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it

# address_plan SLOT
address_plan() {
  slot=$1
  prefix=10.$((200 + slot))
  hub_ip=$prefix.0.1    # API server, CoreDNS and the object store
  host_ip=$prefix.0.254 # this machine's own end, so that a launcher outside of the cluster reaches them
  host_link=lockstep$slot
  api=https://$hub_ip:6443
}
node_ip() { echo "$prefix.0.$((10 + $1))"; }
pod_range() { echo "$prefix.$1.0/24"; }
slots=16
most_nodes=100

# link_remove SLOT: takes this machine's end away. Without it the link would go with the cluster's network, which the kernel
# keeps for some time while connections in it are not closed by both sides.
link_remove() {
  ip link delete "lockstep$1" 2>/dev/null || true
}

# ip_free SLOT: whether no route of this machine leads into the slot's addresses already
ip_free() { ! ip -4 route show | grep -q "^10\.$((200 + $1))\."; }
