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
        $hub_ip minio.lockstep.test
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

# storage_start: http, or https with the cluster's own CA where LOCKSTEP_CLUSTER_TLS is set
storage_start() {
  local scheme=http
  mkdir -p "$dir/minio" "$dir/pki/storage-tls"
  if [[ -n ${LOCKSTEP_CLUSTER_TLS:-} ]]; then
    scheme=https
    cp "$dir/pki/storage.crt" "$dir/pki/storage-tls/public.crt"
    cp "$dir/pki/storage.key" "$dir/pki/storage-tls/private.key"
  fi
  cat >"$dir/storage.env" <<V
export AWS_ENDPOINT_URL=$scheme://$hub_ip:9000
export AWS_ACCESS_KEY_ID=lockstep
export AWS_SECRET_ACCESS_KEY=$(openssl rand -hex 16)
export AWS_REGION=us-east-1
V
  [[ $scheme == http ]] || echo "export SSL_CERT_FILE=$dir/pki/ca.crt" >>"$dir/storage.env"
  # shellcheck source=/dev/null
  source "$dir/storage.env"
  component minio env MINIO_ROOT_USER="$AWS_ACCESS_KEY_ID" MINIO_ROOT_PASSWORD="$AWS_SECRET_ACCESS_KEY" MINIO_BROWSER=off \
    MINIO_UPDATE=off "$parts/minio" server --quiet --certs-dir "$dir/pki/storage-tls" --address "$hub_ip:9000" "$dir/minio"
}

storage_ready() { component_ready minio 60 "$parts/bucket" create "$bucket"; }
