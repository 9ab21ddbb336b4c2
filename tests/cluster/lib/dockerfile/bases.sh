# Sourced: the base images that the Dockerfile names, made from Debian packages, under the names that it has for them.
# shellcheck shell=bash disable=SC2154 # shared with the script that sources it

builder() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver "$driver" "$@"; }

# base_of STAGE: what the Dockerfile makes this stage from
base_of() { sed -nE "s/^FROM (\S+) AS $1$/\1/p" "$dockerfile"; }

# suite_of IMAGE: the Debian release that its tag names
suite_of() { sed -E "s/.*[:-]//" <<<"${1%-slim}"; }

# packed_base SUITE PACKAGES: a tar with Debian's essential packages and these, made once
packed_base() {
  local out
  out=$cache/image-base-$1-$(sha256sum <<<"$2" | cut -c1-8).tar
  if [[ ! -e $out ]]; then
    say "making a base image of $1 from Debian packages (a minute)"
    mmdebstrap --quiet --variant=minbase --include="$2" "$1" "$out.part.tar" >&2
    mv "$out.part.tar" "$out"
  fi
  echo "$out"
}

# import_base NAME TAR COMMAND...: the command gets the new image's root to add to it
import_base() {
  local name=$1 tar=$2 container root
  shift 2
  container=$(builder from scratch)
  root=$(builder mount "$container")
  tar -C "$root" -xpf "$tar"
  "$@" "$root"
  builder umount "$container" >/dev/null
  builder config --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  builder commit --quiet --rm "$container" "$name" >/dev/null
}

assemble_base() {
  local base tar
  base=$(base_of assemble)
  tar=$(packed_base "$(suite_of "$base")" libc-bin)
  import_base "$base" "$tar" true
}

# add_rust ROOT: this machine's Rust where the official image has its own, and whom this machine trusts
add_rust() {
  local sysroot part
  sysroot=$(rustc --print sysroot)
  mkdir -p "$1/usr/local/cargo"
  for part in bin lib libexec; do cp -a "$sysroot/$part" "$1/usr/local/cargo/"; done
  cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
}

compile_base() {
  local base tar
  base=$(base_of compile)
  tar=$(packed_base "$(suite_of "$base")" ca-certificates,gcc,g++,libc6-dev,make,python3)
  import_base "$base" "$tar" add_rust
}
