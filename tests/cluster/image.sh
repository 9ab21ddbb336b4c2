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
without a shell, run by user 65532. The same files give the same digest, which is printed. trainer/image/Dockerfile makes
the same image; what lies where in it is said in trainer/image/root.sh, for both.

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
  local work layout=$checkout/trainer/image/root.sh
  work=$(mktemp -d "$(dirname "$out")/.image-XXXXXX")
  # shellcheck disable=SC2064 # the folder of now
  trap "rm -rf '$work'" EXIT
  "$layout" programs "$bin" "$work/whole"
  "$layout" system "$bin/lockstep-worker" "$work/system"
  # What changes seldom is a layer of its own: this Debian's libraries, then libtorch, then our programs.
  mkdir -p "$work"/{libtorch,programs}/opt/lockstep
  mv "$work/whole/opt/lockstep/lib" "$work/libtorch/opt/lockstep/"
  mv "$work/whole/opt/lockstep/bin" "$work/programs/opt/lockstep/"
  "$here/lib/oci.py" "$out" --name docker.io/library/lockstep:test --entrypoint /opt/lockstep/bin/lockstep-agent \
    --env PATH=/opt/lockstep/bin --env HOME=/tmp \
    --layer "$work/system" --layer "$work/libtorch" --layer "$work/programs"
}

[[ -z $make ]] || make_image
[[ -z $load ]] || load_image "$load" "$out"
