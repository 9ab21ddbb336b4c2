#!/usr/bin/env bash
# Makes Lockstep's image from what is built here. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
# shellcheck source=lib/address.sh
source "$here/lib/address.sh"
# shellcheck source=lib/component.sh
source "$here/lib/component.sh"
# shellcheck source=lib/node.sh
source "$here/lib/node.sh"
# shellcheck source=lib/image.sh
source "$here/lib/image.sh"
checkout=$(readlink -f "$here/../..")

usage() {
  cat <<USAGE
usage: tests/cluster/image.sh [--bin FOLDER] [--out TAR | --only-load TAR] [--load CLUSTER]

Puts lockstep-agent, lockstep-worker, libtorch's CPU half and the libraries they need from this Debian into an OCI image
without a shell, run by user 65532. The same files give the same digest, which is printed.

  --bin FOLDER     where the programs are (default: target/release); the agent that needs no C library is beside it, in
                   x86_64-unknown-linux-gnu/release, where make static-agent puts it
  --out TAR        the image to write (default: target/lockstep-image.tar)
  --load CLUSTER   also import it into every node of this running cluster
  --only-load TAR  import TAR, make nothing

Its name is docker.io/library/lockstep:test, so pods ask for lockstep:test, with imagePullPolicy: Never or IfNotPresent.
USAGE
}

target=${CARGO_TARGET_DIR:-$checkout/target}
bin=$target/release out=$target/lockstep-image.tar load="" make=yes
while (($#)); do
  case $1 in
    --bin) bin=${2:?} && shift 2 ;;
    --out) out=${2:?} && shift 2 ;;
    --load) load=${2:?} && shift 2 ;;
    --only-load) out=${2:?} make="" && shift 2 ;;
    -h | --help) usage; exit ;;
    *) usage >&2; exit 2 ;;
  esac
done

make_image() {
  local libtorch work program library agent=$bin/../x86_64-unknown-linux-gnu/release/lockstep-agent
  for program in "$agent" "$bin/lockstep-worker"; do
    [[ -x $program ]] || die "$program is not built" "run make build static-agent, or name the folder with --bin"
  done
  # The link is the worker's own: it was linked against exactly this libtorch.
  libtorch=$(ldd "$bin/lockstep-worker" | sed -nE 's#^\s+libtorch_cpu.so => (/\S+)/libtorch_cpu.so .*#\1#p')
  [[ -n $libtorch ]] || die "lockstep-worker does not find its libtorch_cpu.so" "ldd $bin/lockstep-worker shows what it looks for"
  work=$(mktemp -d "$(dirname "$out")/.image-XXXXXX")
  # shellcheck disable=SC2064 # the folder of now
  trap "rm -rf '$work'" EXIT

  # What changes seldom is a layer of its own: this Debian's libraries, then libtorch, then our programs.
  mkdir -p "$work"/system/etc/ssl/certs "$work"/libtorch/opt/lockstep/lib "$work"/programs/opt/lockstep/bin
  while read -r library; do copy_library "$library" "$work/system"; done < <(libraries "$bin/lockstep-worker" | grep -v "^$libtorch/")
  cp -L /etc/ssl/certs/ca-certificates.crt "$work/system/etc/ssl/certs/"
  a_user "$work/system"
  ldd "$bin/lockstep-worker" | sed -nE "s#.* => ($libtorch/\S+) .*#\1#p" | sort -u |
    while read -r library; do cp -L "$library" "$work/libtorch/opt/lockstep/lib/"; done
  cp "$agent" "$bin/lockstep-worker" "$work/programs/opt/lockstep/bin/"

  "$here/lib/oci.py" "$out" --name docker.io/library/lockstep:test --entrypoint /opt/lockstep/bin/lockstep-agent \
    --env PATH=/opt/lockstep/bin --env HOME=/tmp \
    --layer "$work/system" --layer "$work/libtorch" --layer "$work/programs"
}

[[ -z $make ]] || make_image
[[ -z $load ]] || load_image "$load" "$out"
