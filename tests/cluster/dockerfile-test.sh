#!/usr/bin/env bash
# Builds the Dockerfile, and shows that what comes out is Lockstep's image. See --help.
set -euo pipefail
# shellcheck source=lib/common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib/common.sh"
# shellcheck source=lib/check.sh
source "$here/lib/check.sh"
# shellcheck source=lib/needs.sh
source "$here/lib/needs.sh"
# shellcheck source=lib/dockerfile/bases.sh
source "$here/lib/dockerfile/bases.sh"
# shellcheck source=lib/dockerfile/checks.sh
source "$here/lib/dockerfile/checks.sh"
checkout=$(readlink -f "$here/../..")
dockerfile=$checkout/trainer/image/Dockerfile
name=docker.io/library/lockstep:dockerfile

usage() {
  cat <<USAGE
usage: tests/cluster/dockerfile-test.sh [--bin FOLDER] [--compile] [--cluster]

Builds trainer/image/Dockerfile with buildah, without a registry of images: its bases are made from Debian packages, under
the names that they have in it. Shows that the image has the files and settings of the one that image.sh makes, no shell,
runs as user 65532 with nothing writable, and is the same when it is built again. As root.

  --bin FOLDER     where the programs are, which are not compiled again (default: target/release)
  --compile        compile them in the build instead, as for users, with this machine's Rust; ten minutes and more
  --cluster        also train the digits with the image on a cluster of its own

  LOCKSTEP_CACHE   where the bases are kept (default \${XDG_CACHE_HOME:-\$HOME/.cache}/lockstep)

Exit codes: 0 all is well, 1 it is not, 2 wrong arguments, 3 this machine lacks something.
USAGE
}

bin=${CARGO_TARGET_DIR:-$checkout/target}/release compile="" cluster=""
while (($#)); do
  case $1 in
    --bin) bin=$(readlink -f "${2:?--bin needs a value}") && shift 2 ;;
    --compile) compile=yes && shift ;;
    --cluster) cluster=dockerfile-$$ && shift ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
done
if [[ $(id -u) != 0 ]]; then
  say "this machine lacks: root (a base is unpacked, containers are run)"
  exit 3
fi
programs=$'buildah buildah\nmmdebstrap mmdebstrap\nrunc runc\npython3 python3'
lacks=$(install_packages)
if [[ -n $lacks ]]; then
  say "this machine lacks: ${lacks//$'\n'/, }"
  exit 3
fi

cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}
mkdir -p "$cache"
work=$(mktemp -d /var/tmp/lockstep-image-XXXXXX) # containers' layers can't lie on tmpfs
finish() {
  [[ -z $cluster ]] || "$here/down.sh" --name "$cluster"
  builder umount --all >/dev/null 2>&1 || true
  rm -rf --one-file-system "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
driver=overlay
builder info >/dev/null 2>&1 || driver=vfs

image=$work/image.tar peer=$work/peer.tar
assemble_base
if [[ $compile ]]; then
  compile_base
  build_options=()
else
  "$checkout/trainer/image/root.sh" programs "$bin" "$work/programs"
  build_options=(--build-context "compile=$work/programs")
fi
"$here/image.sh" --bin "$bin" --out "$peer" >/dev/null
[[ -z $cluster ]] || exports=$("$here/demo.sh" --bin "$bin" --name "$cluster" --tether $$)

check "the Dockerfile builds" build_image "$image"
[[ $failed == 0 ]] || exit 1
check "its settings are those of image.sh's image" same_config
check "its files, their owners and modes are those of image.sh's image" same_files
check "it holds two programs and no shell" no_shell
check "the agent runs as user 65532 with nothing writable" agent_runs
check "the worker runs so, and finds libtorch" worker_runs
check "a shell does not" no_shell_runs
[[ -n $compile ]] || check "built again it has the same digest" same_digest
[[ -z $cluster ]] || check "the digits train with it on a cluster" digits_train
verdict
