#!/usr/bin/env bash
# Makes an image with Python and PyTorch, for programs that `command:` runs and for those that Lockstep is measured against.
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
tests=$(readlink -f "$here/..")
app=$tests/on-cluster/python
name=docker.io/library/lockstep-python:test

usage() {
  cat <<USAGE
usage: tests/cluster/python-image.sh [--load CLUSTER]

Puts the Python and PyTorch of tests/scripts/pytorch-venv.sh, the libraries that they need from this Debian, and the
programs of tests/on-cluster/python with the digits (/app) into an OCI image, made once for each of their versions, and
prints where it lies. It has no CUDA (lib/cpu_torch.py), no shell, and is run by user 65532. 0.8 GB.

  --load CLUSTER    also import it into every node of this running cluster

  LOCKSTEP_CACHE    where it is kept (default \${XDG_CACHE_HOME:-\$HOME/.cache}/lockstep)
  LOCKSTEP_PYTHON   the interpreter to take instead

Pods ask for lockstep-python:test, with imagePullPolicy: Never, and run python3 /app/train.py.
USAGE
}

load=""
while (($#)); do
  case $1 in
    --load) load=${2:?--load needs a value} && shift 2 ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
done

python=$("$tests/scripts/pytorch-venv.sh")
mapfile -t facts < <("$python" -c 'import importlib.metadata as m, sys, sysconfig as s
print(sys._base_executable, s.get_path("stdlib"), s.get_path("purelib"), sys.version, m.version("torch"), m.version("numpy"), sep="\n")')
interpreter=$(readlink -f "${facts[0]}") stdlib=${facts[1]} site=${facts[2]}
sources=("$here"/{python-image.sh,lib/image.sh,lib/oci.py,lib/cpu_torch.py} "$app"/*.py "$tests/benches/harness/digits.py")
key=$({ printf '%s\n' "${facts[@]}" && cat "${sources[@]}"; } | sha256sum | cut -c1-16)
cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}
out=$cache/python-image-$key.tar

# Not needed by a program that trains on a CPU: CUDA, Triton, what makes packages, what other tests need.
without=(nvidia 'nvidia_*' 'cuda*' triton 'triton-*' torch/lib torch/include torch/share 'torch/bin/protoc*' torch/bin/ptxas
  'pip*' 'setuptools*' pkg_resources 'tensorboard*' grpc 'grpcio*' google 'protobuf*' PIL 'pillow*' 'absl*' 'markdown*' 'werkzeug*'
  'transformers*' 'torchvision*' 'tokenizers*' 'huggingface_hub*' 'hf_xet*' 'pygments*' 'pydantic*' 'regex*' 'rich*')

make_image() {
  local work library version part objects
  work=$(mktemp -d "$cache/.python-image-XXXXXX")
  # shellcheck disable=SC2064 # the folder of now
  trap "rm -rf '$work'" EXIT
  version=$(basename "$stdlib")
  mkdir -p "$work"/system/opt/python/{bin,lib} "$work/site/opt/site-packages" "$work/app/app"

  cp "$interpreter" "$work/system/opt/python/bin/$version"
  ln -s "$version" "$work/system/opt/python/bin/python3"
  tar -C "$(dirname "$stdlib")" --exclude={test,idlelib,ensurepip,lib2to3,turtledemo,site-packages,dist-packages,__pycache__} \
    --exclude="$version/config-*" -cf - "$version" | tar -C "$work/system/opt/python/lib" -xf -
  tar -C "$site" --anchored "${without[@]/#/--exclude=./}" --no-anchored --exclude={tests,__pycache__} -cf - . | tar -C "$work/site/opt/site-packages" -xf -
  "$here/lib/cpu_torch.py" "$site" "$work/site/opt/site-packages"
  cp "$app"/*.py "$work/app/app/"
  PYTHONPATH=$tests/benches python3 -c 'import pathlib, sys; from harness import digits
digits.write_flat(pathlib.Path(sys.argv[1]), digits.samples())' "$work/app/app/digits.bin"

  # Times of files are all the same in an image, and its disk is not written to: compiled once, valid whatever the time.
  for part in system/opt/python/lib site/opt/site-packages; do
    "$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$work/${part%%/*}" -p / "$work/$part" >&2
  done

  mapfile -t objects < <(find "$work" -name '*.so*' -type f)
  while read -r library; do
    copy_library "$library" "$work/system"
  done < <(libraries "$interpreter" "${objects[@]}" 2>/dev/null | grep -v "^$work/")
  a_user "$work/system"

  "$here/lib/oci.py" "$work/image.tar" --name "$name" --entrypoint /opt/python/bin/python3 \
    --env PATH=/opt/python/bin --env HOME=/tmp --env PYTHONPATH=/opt/site-packages \
    --layer "$work/system" --layer "$work/site" --layer "$work/app" >&2
  mv "$work/image.tar" "$out"
}

mkdir -p "$cache"
exec 9>"$cache/.python-image.lock"
flock 9
if [[ ! -e $out ]]; then
  say "making $name from $interpreter and torch ${facts[4]} (a minute)"
  make_image
fi
exec 9>&-
[[ -z $load ]] || load_image "$load" "$out"
echo "$out"
