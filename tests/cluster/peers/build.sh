#!/usr/bin/env bash
# Builds JobSet and Kubeflow Trainer from Go modules into the cache, once for each set of pinned versions, and prints the
# folder: bin/ holds the managers, manifests/ what they ship for a cluster. Only make bench-cluster needs them.
# Cold it needs the Go module proxy and some minutes; after that it is a look into the cache.
#   LOCKSTEP_CACHE   where it is kept (default ${XDG_CACHE_HOME:-$HOME/.cache}/lockstep)
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cd "$here"

key=$(cat build.sh ./*/go.{mod,sum} | sha256sum | cut -c1-16)
cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}
home=$cache/peers-$key

mkdir -p "$cache"
exec 9>"$cache/.peers.lock"
flock 9 # another build may be at work
if [[ -d $home ]]; then
  echo "$home"
  exit
fi

kubectl=$("$here/../build.sh")/kubectl
fresh=$(mktemp -d "$cache/.peers-XXXXXX")
trap 'rm -rf "$fresh"' EXIT
mkdir "$fresh"/{bin,manifests}
export GOFLAGS="-buildvcs=false -mod=readonly -trimpath" GOWORK=off

# part FOLDER MODULE PACKAGE KUSTOMIZATION...: builds the package, and renders the manifests that lie in the module
part() {
  local folder=$1 module=$2 package=$3 since=$SECONDS source each
  shift 3
  (cd "$folder" && nice -n 19 go build -p "${LOCKSTEP_BUILD_JOBS:-$(nproc)}" -ldflags "-s -w" -o "$fresh/bin/" "$package") >&2
  source=$(cd "$folder" && go list -m -f '{{.Dir}}' "$module")
  for each in "$@"; do
    "$kubectl" kustomize "$source/$each"
    echo ---
  done >"$fresh/manifests/$folder.yaml"
  echo "cluster: built $folder in $((SECONDS - since)) s" >&2
}

echo "cluster: building JobSet and Kubeflow Trainer into $home (3 minutes on 2 cores when Go's cache is cold)" >&2
part jobset sigs.k8s.io/jobset sigs.k8s.io/jobset config/default
part trainer github.com/kubeflow/trainer/v2 github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager \
  manifests/base/crds manifests/base/webhook

chmod 755 "$fresh"
mv "$fresh" "$home"
echo "$home"
