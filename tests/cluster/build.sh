#!/usr/bin/env bash
# Builds the cluster's parts from Go modules into the cache, once for each set of pinned versions, and prints the folder.
# Cold it needs the Go module proxy and some minutes; after that it is a look into the cache. With --where it only prints
# the folder, there or not.
#   LOCKSTEP_CACHE   where parts are kept (default ${XDG_CACHE_HOME:-$HOME/.cache}/lockstep)
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cd "$here"

kubernetes=$(sed -n 's#^\tk8s.io/kubernetes \(v[0-9.]*\)$#\1#p' kube/go.mod)
sources=(build.sh pause/pause.c lib/oci.py ../scripts/seaweedfs.sh)
while read -r file; do sources+=("$file"); done < <(find kube containerd coredns seaweedfs kwok tools -type f | LC_ALL=C sort)
key=$(sha256sum "${sources[@]}" | sha256sum | cut -c1-16)
cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}
home=$cache/cluster-$key

if [ -d "$home" ] || [ "${1:-}" = --where ]; then
  echo "$home"
  exit
fi
mkdir -p "$cache"
exec 9>"$cache/.cluster.lock"
flock 9
if [ -d "$home" ]; then # another build made it while this one waited
  echo "$home"
  exit
fi

fresh=$(mktemp -d "$cache/.cluster-XXXXXX")
trap 'rm -rf "$fresh"' EXIT
export GOFLAGS="-buildvcs=false -mod=readonly -trimpath" GOWORK=off

# part FOLDER LDFLAGS TAGS PACKAGE...: builds the packages of one module
part() {
  local folder=$1 ldflags=$2 tags=$3 since=$SECONDS
  shift 3
  (cd "$folder" && nice -n 19 go build -p "${LOCKSTEP_BUILD_JOBS:-$(nproc)}" -tags "$tags" -ldflags "-s -w $ldflags" -o "$fresh/" "$@") >&2
  echo "cluster: built $folder in $((SECONDS - since)) s" >&2
}

echo "cluster: building Kubernetes $kubernetes and its surroundings into $home (10 minutes on 2 cores when Go's cache is cold)" >&2
version=k8s.io/component-base/version
minor=${kubernetes#v1.}
part kube "-X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}" "" .
part containerd "" no_btrfs github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}
part coredns "" "" .
part seaweedfs "" "" ./bucket
ln "$(../scripts/seaweedfs.sh)" "$fresh/weed" # of the same cache: a second name, not a second copy
part kwok "" "" sigs.k8s.io/kwok/cmd/kwok
mkdir "$fresh/pause" "$fresh/tools"
(cd tools && CGO_ENABLED=0 go build -ldflags "-s -w" -o "$fresh/tools/" ./peer)
gcc -static -Os -o "$fresh/pause/pause" pause/pause.c
python3 lib/oci.py --name lockstep.test/pause:1 --entrypoint /pause --layer "$fresh/pause" "$fresh/pause.tar" >&2
python3 lib/oci.py --name lockstep.test/tools:1 --entrypoint /peer --layer "$fresh/tools" "$fresh/tools.tar" >&2
for component in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do ln -s kube "$fresh/$component"; done

chmod 755 "$fresh"
mv "$fresh" "$home"
echo "$home"
