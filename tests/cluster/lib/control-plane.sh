# Sourced: the servers of the hub: etcd, the API server and its two helpers, name service, object store.
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it
bucket=lockstep

network_start() {
  local hub
  hub=$(pid_in "$dir/pid/hub")
  ip link add "$host_link" type veth peer name host netns "$hub"
  in_hub bash -c "ip link set host master switch up && ip address add $hub_ip/24 dev switch"
  ip address add "$host_ip/24" dev "$host_link"
  ip link set "$host_link" up
  # Back to pods, which reach this machine's end by way of their node.
  ip route add "$prefix.0.0/16" via "$hub_ip"
}

etcd_start() {
  local client=http://127.0.0.1:2379 peer=http://127.0.0.1:2380
  component etcd "$parts/etcd" --name hub --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "hub=$peer"
}

# With LOCKSTEP_CLUSTER_AUDIT the API server notes each request of the cluster's owner, at its end: a watch is one line.
apiserver_start() {
  local audit=()
  if [[ -n ${LOCKSTEP_CLUSTER_AUDIT:-} ]]; then
    cat >"$dir/audit.yaml" <<Y
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: Metadata, users: [admin]}
- {level: None}
Y
    audit=(--audit-policy-file="$dir/audit.yaml" --audit-log-path="$dir/log/audit.log")
  fi
  component kube-apiserver "$parts/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --secure-port=6443 --bind-address=0.0.0.0 --advertise-address="$hub_ip" --endpoint-reconciler-type=none \
    --client-ca-file=pki/ca.crt --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key \
    --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.96.0.0/16 \
    --service-account-key-file=pki/serviceaccounts.pub --service-account-signing-key-file=pki/serviceaccounts.key \
    --kubelet-client-certificate=pki/apiserver-to-kubelet.crt --kubelet-client-key=pki/apiserver-to-kubelet.key \
    --kubelet-preferred-address-types=InternalIP --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction --allow-privileged=true --profiling=false "${audit[@]}"
}

apiserver_answers() { "$parts/kubectl" --kubeconfig "$dir/kubeconfig" get --raw /readyz --request-timeout 2s; }

apiserver_ready() { component_ready kube-apiserver 90 apiserver_answers; }

# helper NAME FLAGS...: a server that works through the API
helper() {
  local name=$1
  shift
  kubeconfig "$name" "$dir/pki/$name.kubeconfig"
  component "$name" "$parts/$name" --kubeconfig="pki/$name.kubeconfig" --authentication-kubeconfig="pki/$name.kubeconfig" \
    --authorization-kubeconfig="pki/$name.kubeconfig" --leader-elect=false "$@"
}

helpers_start() {
  helper kube-controller-manager --service-account-private-key-file=pki/serviceaccounts.key --root-ca-file=pki/ca.crt \
    --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key --use-service-account-credentials=true \
    --allocate-node-cidrs=false --node-monitor-grace-period="${LOCKSTEP_CLUSTER_NODE_GRACE:-10s}"
  helper kube-scheduler
}

# Name service with the settings that clusters usually come with, late answers and cached refusals included.
dns_start() {
  cat >"$dir/Corefile" <<C
.:53 {
    bind $hub_ip
    errors
    ready $hub_ip:8181
    hosts {
        $hub_ip storage.lockstep.test
        fallthrough
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig $dir/kubeconfig
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    cache 30
    loadbalance
}
C
  component coredns "$parts/coredns" -conf "$dir/Corefile"
}

dns_ready() { component_ready coredns 60 http_ok "$hub_ip" 8181 /ready; }

# storage_start: http, or https with the cluster's own CA where LOCKSTEP_CLUSTER_TLS is set. Only the S3 server listens at the
# hub's address. The servers behind it ask nobody for a key, so they stay on the hub's loopback. They meet at sockets in /tmp
# that are named by port, so each store has a /tmp of its own, or clusters would meet there.
storage_start() {
  local scheme=http secret tls=()
  secret=$(openssl rand -hex 16)
  mkdir -p "$dir/storage"
  if [[ -n ${LOCKSTEP_CLUSTER_TLS:-} ]]; then
    scheme=https
    tls=(-s3.cert.file="$dir/pki/storage.crt" -s3.key.file="$dir/pki/storage.key")
  fi
  cat >"$dir/storage.env" <<V
export AWS_ENDPOINT_URL=$scheme://$hub_ip:9000
export AWS_ACCESS_KEY_ID=lockstep
export AWS_SECRET_ACCESS_KEY=$secret
export AWS_REGION=us-east-1
V
  [[ $scheme == http ]] || echo "export SSL_CERT_FILE=$dir/pki/ca.crt" >>"$dir/storage.env"
  # The owner's key is in a file, because those that are made later lie in the store itself.
  (
    umask 077
    cat >"$dir/storage.json" <<J
{"identities": [{"name": "owner", "actions": ["Admin"],
  "credentials": [{"accessKey": "lockstep", "secretKey": "$secret"}]}]}
J
  )
  # Nothing of this shell's environment: it would take keys and settings from there, too. On unless they are turned off:
  # statistics that are sent to its makers, catalogs of tables with ports of their own, buckets that a put makes. All volumes
  # together are 25 GB, and are made as they fill. A master that is alone need not wait 10 s for others to elect it.
  component storage unshare --mount "$here/lib/private-tmp.sh" "$dir" "$parts" -- \
    env -i HOME="$dir/storage" GOMEMLIMIT=256MiB "$parts/weed" -logtostderr=true server -dir="$dir/storage" \
    -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false -master.electionTimeout=1s \
    -master.volumeSizeLimitMB=256 -volume.max=100 \
    -s3 -s3.ip.bind="$hub_ip" -s3.port=9000 -s3.config="$dir/storage.json" -s3.iam.readOnly=false \
    -s3.autoCreateBucket=false -s3.port.iceberg=0 -s3.port.lance=0 "${tls[@]}"
}

# The S3 server answers some seconds before there is a volume to write to.
storage_answers() (
  # shellcheck source=/dev/null
  source "$dir/storage.env"
  "$parts/bucket" create "$bucket" && "$parts/bucket" probe "$bucket" ""
)

storage_ready() { component_ready storage 60 storage_answers; }
