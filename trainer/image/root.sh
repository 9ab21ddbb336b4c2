#!/usr/bin/env bash
# Lays out what is in Lockstep's image, for the Dockerfile and for tests/cluster/image.sh. See --help.
set -euo pipefail

usage() {
  cat <<USAGE
usage: trainer/image/root.sh programs BIN OUT
       trainer/image/root.sh system WORKER OUT

programs   puts lockstep-agent, lockstep-worker and libtorch's CPU half under OUT/opt/lockstep, and what only the image for
           GPUs has, lockstep-gpu, under OUT/opt/lockstep-cuda. BIN is where the programs are; the agent that needs no C
           library is beside it, in x86_64-unknown-linux-gnu/release, where \`make static-agent\` puts it.
system     puts what WORKER needs of this Debian under OUT: libraries, certificates, the user 65532; and as
           var/lib/dpkg/status.d the packages that these are from, by which scanners know them.
USAGE
}

die() {
  echo "root.sh: error: $1" >&2
  shift
  local hint
  for hint in "$@"; do echo "root.sh:   $hint" >&2; done
  exit 1
}

# resolved PROGRAM: the libraries that the dynamic linker would load
resolved() {
  local said
  said=$(ldd "$1" 2>&1) || die "ldd can't read $1" "$said"
  ! grep -E "not found" <<<"$said" >&2 || die "$1 lacks the libraries above" "build it on the Debian that the image is made of"
  sed -nE 's#^\s+(\S+ => )?(/\S+) \(0x.*#\2#p' <<<"$said" | sort -u
}

# libtorch_of LIBRARIES: libtorch's folder. The link is the worker's own: it was linked against exactly this one.
libtorch_of() {
  grep -m1 '/libtorch_cpu\.so$' <<<"$1" | xargs -r dirname | grep . || die "the worker does not load libtorch_cpu.so"
}

programs() {
  local bin=$1 at=$2/opt/lockstep for_gpus=$2/opt/lockstep-cuda program library libraries libtorch agent=$1/../x86_64-unknown-linux-gnu/release/lockstep-agent
  for program in "$agent" "$bin/lockstep-worker" "$bin/lockstep-gpu"; do
    [[ -x $program ]] || die "$program is not built" "run make worker static-agent, or name another folder"
  done
  libraries=$(resolved "$bin/lockstep-worker")
  libtorch=$(libtorch_of "$libraries")
  mkdir -p "$at/bin" "$at/lib" "$for_gpus/bin"
  for program in "$agent" "$bin/lockstep-worker"; do
    objcopy --strip-all "$program" "$at/bin/$(basename "$program")"
  done
  objcopy --strip-all "$bin/lockstep-gpu" "$for_gpus/bin/lockstep-gpu"
  grep "^$libtorch/" <<<"$libraries" | while read -r library; do cp -L "$library" "$at/lib/"; done
}

# package_of FILE: the Debian package that brought it. Packages may name a file of /usr/lib by the link /lib.
package_of() {
  local file
  file=$(readlink -f "$1")
  { dpkg-query --search "$file" || dpkg-query --search "${file#/usr}"; } 2>/dev/null | cut -d: -f1 ||
    die "no package holds $1" "make the image on Debian, or with trainer/image/Dockerfile"
}

system() {
  local worker=$1 out=$2 library libraries libtorch package packages
  libraries=$(resolved "$worker")
  libtorch=$(libtorch_of "$libraries")
  libraries=$(grep -v "^$libtorch/" <<<"$libraries")
  mkdir -p "$out"/{etc/ssl/certs,home/lockstep,tmp,var/lib/dpkg/status.d}
  chmod 1777 "$out/tmp"
  while read -r library; do # the content under the name that the linker asks for
    mkdir -p "$out$(dirname "$library")"
    cp -L "$library" "$out$library"
  done <<<"$libraries"
  cp -L /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"
  cp -L /etc/os-release /etc/debian_version "$out/etc/"
  echo "lockstep:x:65532:65532::/home/lockstep:/nonexistent" >"$out/etc/passwd"
  echo "lockstep:x:65532:" >"$out/etc/group"
  echo "hosts: files dns" >"$out/etc/nsswitch.conf"

  packages=$(echo ca-certificates && while read -r library; do package_of "$library"; done <<<"$libraries")
  sort -u <<<"$packages" | while read -r package; do
    dpkg-query --status "$package" >"$out/var/lib/dpkg/status.d/$package"
    mkdir -p "$out/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$out/usr/share/doc/$package/"
  done
}

case "${1:-}:$#" in
  programs:3 | system:3) "$@" ;;
  -h:1 | --help:1) usage ;;
  *) usage >&2 && exit 2 ;;
esac
