# Sourced: nodes. Each is a process namespace below the hub's with its own network, mounts and host name, so that killing
# its first process is what pulling a machine's plug is.
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it

node_dir() { echo "$dir/nodes/n$1"; }

# node_prepare NUMBER: the files that a node finds in its /node
node_prepare() {
  local name=n$1 at ip
  at=$(node_dir "$1")
  ip=$(node_ip "$1")
  mkdir -p "$at"/{etc/cni,containerd,kubelet,log,root}
  pki_issue "$name" "/O=system:nodes/CN=system:node:$name" "DNS:$name, IP:$ip"
  kubeconfig "$name" "$at/etc/kubeconfig"
  cp "$dir/pki/$name.crt" "$dir/pki/$name.key" "$dir/pki/ca.crt" "$at/etc/"
  cat >"$at/etc/cni/pods.conflist" <<C
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "/run/pod-addresses", "ranges": [[{"subnet": "$(pod_range "$1")"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}}]}
C
  # The kernel may refuse a lower OOM score inside of a sandbox, hence the restriction.
  cat >"$at/etc/containerd.toml" <<C
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "/node/etc/cni"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "lockstep.test/pause:1"
C
  cat >"$at/etc/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: /node/etc/ca.crt}
authorization: {mode: AlwaysAllow}
tlsCertFile: /node/etc/$name.crt
tlsPrivateKeyFile: /node/etc/$name.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /lockstep-$slot/$name
failCgroupV1: false
failSwapOn: false
clusterDNS: [$hub_ip]
clusterDomain: cluster.local
resolvConf: /dev/null
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 2s
nodeLeaseDurationSeconds: 8
C
}

# node_start NUMBER: switches a node on
node_start() {
  local name=n$1 at ip pid
  at=$(node_dir "$1")
  ip=$(node_ip "$1")
  rm -f "$at/pid"
  cgroup_make "lockstep-$slot/$name"
  setsid nsenter --target "$(pid_in "$dir/pid/hub")" --mount --net --pid --uts --ipc \
    unshare --mount --net --pid --uts --ipc --fork --kill-child=KILL "$here/lib/node-init.sh" "$at" "$name" "$ip" "$parts" \
    </dev/null >>"$at/log/node.log" 2>&1 7>&- &
  disown
  wait_until 10 test -s "$at/pid" || die_with_log "node $name did not start" "$at/log/node.log"
  pid=$(pid_in "$at/pid")
  in_hub ip link add "$name" type veth peer name uplink
  in_hub ip link set "$name" master switch up
  nsenter --target "$(pid_in "$dir/pid/hub")" --net ip link set uplink netns "$pid"
  in_hub ip route replace "$(pod_range "$1")" via "$ip"
  nsenter --target "$pid" --net bash -c "
    ip link set lo up && ip link set uplink name eth0 && ip address add $ip/24 dev eth0 && ip link set eth0 up &&
    ip route add default via $hub_ip && echo 1 >/proc/sys/net/ipv4/ip_forward"
}

# node_import NUMBER TAR: brings an image onto a running node
node_import() {
  nsenter --target "$(pid_in "$(node_dir "$1")/pid")" --mount --net --pid --uts --ipc \
    /parts/ctr --address /run/containerd/containerd.sock --namespace k8s.io images import --local --digests - <"$2"
}
