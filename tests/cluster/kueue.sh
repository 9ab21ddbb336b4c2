#!/usr/bin/env bash
# Installs Kueue on a cluster of up.sh's. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
# shellcheck source=lib/address.sh
source "$here/lib/address.sh"
# shellcheck source=lib/component.sh
source "$here/lib/component.sh"
# shellcheck source=lib/pki.sh
source "$here/lib/pki.sh"

usage() {
  cat <<USAGE
usage: tests/cluster/kueue.sh [--name CLUSTER]

Builds Kueue from its Go module, once for each version (6 minutes on two cores), and installs it on a running cluster: its
CRDs and webhooks as it publishes them, its manager as one more server of the cluster. It manages batch Jobs only.

  LOCKSTEP_CACHE   where it is kept (default \${XDG_CACHE_HOME:-\$HOME/.cache}/lockstep)
USAGE
}

name=${LOCKSTEP_CLUSTER:-default}
[[ ${1:-} != --name ]] || { name=${2:?--name needs a value} && shift 2; }
[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit; }
[[ $# == 0 ]] || { usage >&2 && exit 2; }
find_cluster "$name"
[[ -e $dir/ready ]] || die "cluster $name does not run" "start it with tests/cluster/up.sh --name $name"
address_plan "$(cat "$dir/slot")"
kubectl() { "$(cat "$dir/parts")/kubectl" --kubeconfig "$dir/kubeconfig" "$@"; }

# build: the manager and the folder config of its module
build() {
  local cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep} fresh module
  kueue=$cache/kueue-$(cat "$here"/kueue/go.{mod,sum} | sha256sum | cut -c1-16)
  mkdir -p "$cache"
  exec 9>"$cache/.kueue.lock"
  flock 9
  if [[ ! -d $kueue ]]; then
    say "building Kueue into $kueue (6 minutes on 2 cores when Go's cache is cold)"
    fresh=$(mktemp -d "$cache/.kueue-XXXXXX")
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$fresh'" EXIT
    (
      cd "$here/kueue"
      export GOFLAGS="-buildvcs=false -mod=readonly -trimpath" GOWORK=off
      nice -n 19 go build -p "${LOCKSTEP_BUILD_JOBS:-$(nproc)}" -ldflags "-s -w" -o "$fresh/" sigs.k8s.io/kueue/cmd/kueue
    ) >&2
    module=$(cd "$here/kueue" && go list -m -f '{{.Dir}}' sigs.k8s.io/kueue)
    cp -r --no-preserve=mode "$module/config" "$fresh/"
    cat >"$fresh/kustomization.yaml" <<Y
resources: [config/components/crd, config/components/webhook]
Y
    chmod 755 "$fresh"
    mv "$fresh" "$kueue"
  fi
  exec 9>&-
}

# objects: CRDs and webhooks, which are told where the manager is: a Service's address leads nowhere without kube-proxy
objects() {
  kubectl kustomize "$kueue" | kubectl create --dry-run=client --output json --filename - |
    python3 "$here/lib/kueue-objects.py" "https://$hub_ip:9443" "$dir/pki/ca.crt"
}

build
if [[ ! -e $dir/pid/kueue ]] || ! component_started kueue >/dev/null; then
  # It looks for the certificate of its metrics there and nowhere else, so it gets an /etc of its own.
  certificates=kueue/metrics/certs
  mkdir -p "$dir/kueue-etc/$certificates"
  pki_issue kueue /CN=kueue "IP:$hub_ip"
  cp "$dir/pki/kueue.crt" "$dir/kueue-etc/$certificates/tls.crt"
  cp "$dir/pki/kueue.key" "$dir/kueue-etc/$certificates/tls.key"
  cat >"$dir/kueue.yaml" <<Y
apiVersion: config.kueue.x-k8s.io/v1beta2
kind: Configuration
health: {healthProbeBindAddress: "$hub_ip:8081"}
metrics: {bindAddress: "0"}
webhook: {host: $hub_ip, port: 9443, certDir: /etc/$certificates}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: false}
integrations: {frameworks: [batch/job]}
featureGates: {VisibilityOnDemand: false}
Y
  objects >"$dir/kueue-objects.json"
  kubectl apply --server-side -f "$dir/kueue-objects.json" >>"$dir/log/kueue-install.log" 2>&1 ||
    die_with_log "Kueue's objects were refused" "$dir/log/kueue-install.log"
  kubectl wait --for=condition=Established crd --all --timeout=30s >>"$dir/log/kueue-install.log"
  # shellcheck disable=SC2016
  component kueue unshare --mount bash -c 'mount --bind "$1" /etc && shift && exec "$@"' kueue "$dir/kueue-etc" "$kueue/kueue" --config "$dir/kueue.yaml" --kubeconfig "$dir/kubeconfig"
  component_ready kueue 60 http_ok "$hub_ip" 8081 /readyz
fi
