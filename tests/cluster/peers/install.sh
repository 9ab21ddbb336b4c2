#!/usr/bin/env bash
# Brings JobSet and Kubeflow Trainer onto a running cluster. See --help.
set -euo pipefail
# shellcheck source=../lib/common.sh
source "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")/lib/common.sh"
# shellcheck source=../lib/address.sh
source "$here/lib/address.sh"
# shellcheck source=../lib/pki.sh
source "$here/lib/pki.sh"
# shellcheck source=../lib/component.sh
source "$here/lib/component.sh"

usage() {
  cat <<USAGE
usage: tests/cluster/peers/install.sh [--name CLUSTER]

Installs JobSet and Kubeflow Trainer, which Lockstep is measured against, on a running cluster: their types and webhooks,
their managers as servers beside the API server, and Trainer's runtime torch-distributed with the image of
tests/cluster/python-image.sh. They go with the cluster. Builds them on first use (build.sh).
USAGE
}

name=${LOCKSTEP_CLUSTER:-default}
case "${1:-}" in
  "") ;;
  --name) name=${2:?--name needs a value} ;;
  -h | --help) usage && exit ;;
  *) usage >&2 && exit 2 ;;
esac
find_cluster "$name"
[[ -e $dir/ready ]] || die "cluster $name does not run" "start it with tests/cluster/up.sh --name $name"
address_plan "$(cat "$dir/slot")"
parts=$(cat "$dir/parts")
peers=$("$here/peers/build.sh")
kubectl() { "$parts/kubectl" --kubeconfig "$dir/kubeconfig" "$@"; }

jobset_webhook=9443 jobset_health=9081 trainer_webhook=9444 trainer_health=9083
log=$dir/log/peers.log

# types NAME PORT: the peer's types and webhooks, which its manager serves at that port
types() {
  kubectl create --dry-run=client --output json -f "$peers/manifests/$1.yaml" |
    "$here/peers/adapt.py" "$hub_ip:$2" "$dir/pki/ca.crt" | kubectl apply --server-side -f - >>"$log" 2>&1 ||
    die_with_log "the types of $1 could not be made" "$log"
}

# As shipped, but for ports, certificates, and the election that one manager doesn't need.
configure() {
  mkdir -p "$dir/peers"/{jobset,trainer/k8s-webhook-server/serving-certs}
  pki_issue peers /O=system:masters/CN=peers "IP:$hub_ip"
  kubeconfig peers "$dir/pki/peers.kubeconfig"
  for at in "$dir/peers/jobset" "$dir/peers/trainer/k8s-webhook-server/serving-certs"; do
    cp "$dir/pki/peers.crt" "$at/tls.crt"
    cp "$dir/pki/peers.key" "$at/tls.key"
  done
  cat >"$dir/peers/jobset.yaml" <<C
apiVersion: config.jobset.x-k8s.io/v1alpha1
kind: Configuration
webhook: {port: $jobset_webhook, certDir: $dir/peers/jobset}
health: {healthProbeBindAddress: ":$jobset_health"}
metrics: {bindAddress: ":9082", certDir: $dir/peers/jobset}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: false}
C
  cat >"$dir/peers/trainer.yaml" <<C
apiVersion: config.trainer.kubeflow.org/v1alpha1
kind: Configuration
health: {healthProbeBindAddress: ":$trainer_health", readinessEndpointName: readyz, livenessEndpointName: healthz}
metrics: {bindAddress: ":9084", secureServing: true}
webhook: {port: $trainer_webhook, host: ""}
leaderElection: {leaderElect: false}
controller:
  groupKindConcurrency:
    TrainJob.trainer.kubeflow.org: 5
    TrainingRuntime.trainer.kubeflow.org: 1
    ClusterTrainingRuntime.trainer.kubeflow.org: 1
certManagement: {enable: false, webhookServiceName: none, webhookSecretName: none}
clientConnection: {qps: 50, burst: 100}
C
}

# Trainer looks for its certificate in the folder for temporary files.
managers() {
  component jobset env KUBECONFIG="$dir/pki/peers.kubeconfig" "$peers/bin/jobset" --config="$dir/peers/jobset.yaml" --zap-log-level=2
  component trainer env KUBECONFIG="$dir/pki/peers.kubeconfig" TMPDIR="$dir/peers/trainer" "$peers/bin/trainer-controller-manager" \
    --config="$dir/peers/trainer.yaml" --zap-log-level=2
  component_ready jobset 60 http_ok "$hub_ip" $jobset_health /readyz
  component_ready trainer 60 http_ok "$hub_ip" $trainer_health /readyz
}

if [[ ! -e $dir/pid/trainer ]] || ! component_started trainer >/dev/null; then
  types jobset $jobset_webhook
  types trainer $trainer_webhook
  kubectl wait --for=condition=Established --timeout=60s \
    crd/jobsets.jobset.x-k8s.io crd/trainjobs.trainer.kubeflow.org crd/clustertrainingruntimes.trainer.kubeflow.org >>"$log" 2>&1 ||
    die_with_log "the types of the peers were not taken" "$log"
  configure
  managers
fi
wait_until 30 kubectl apply --server-side -f "$here/peers/runtime.yaml" || die_with_log "the runtime was refused" "$dir/log/trainer.log"
say "$name: JobSet and Kubeflow Trainer are ready"
