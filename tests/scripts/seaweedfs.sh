#!/usr/bin/env bash
# Builds SeaweedFS, the object store of the tests, from its Go module into the cache and prints the path of its program,
# `weed`. It is built once for each set of pinned versions (tests/cluster/seaweedfs/go.mod); cold that needs the Go module
# proxy and some minutes. With --where it only prints the path, there or not.
#   LOCKSTEP_CACHE        where it is kept (default ${XDG_CACHE_HOME:-$HOME/.cache}/lockstep)
#   LOCKSTEP_BUILD_JOBS   how many compilers run at once (default: one for each core)
#
# Whoever runs several at a time must know that the parts of one meet at sockets in /tmp that are named by port, whatever
# address they are bound to: give each a /tmp or ports of its own (storage_start in tests/cluster/lib/control-plane.sh).
set -euo pipefail
module=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/../cluster/seaweedfs")

# Not the programs of ours that lie there too: they change more often, and are built in no time.
key=$(cd "$module" && sha256sum go.mod go.sum | sha256sum | cut -c1-16)
cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}
weed=$cache/seaweedfs-$key/weed

if [ -x "$weed" ] || [ "${1:-}" = --where ]; then
    echo "$weed"
    exit
fi
command -v go >/dev/null || {
    echo "seaweedfs: there is no Go to build it with; install Go 1.26 or later" >&2
    exit 1
}
mkdir -p "$cache"
exec 9>"$cache/.seaweedfs.lock"
flock 9
if [ ! -x "$weed" ]; then # nobody made it while this one waited
    echo "seaweedfs: building it into $(dirname "$weed") (some minutes when Go's cache is cold)" >&2
    fresh=$(mktemp -d "$cache/.seaweedfs-XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    # A program without libc, so that it runs in any root.
    (cd "$module" && CGO_ENABLED=0 GOWORK=off GOFLAGS="-buildvcs=false -mod=readonly -trimpath" \
        nice -n 19 go build -p "${LOCKSTEP_BUILD_JOBS:-$(nproc)}" -ldflags "-s -w" -o "$fresh/" \
        github.com/seaweedfs/seaweedfs/weed) >&2
    echo "seaweedfs: built in $SECONDS s" >&2
    chmod 755 "$fresh"
    mv "$fresh" "$(dirname "$weed")"
fi
echo "$weed"
