# Sourced: what making images has in common, and loading them.
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it

# libraries PROGRAM...: the files that the dynamic linker would load
libraries() {
  ldd "$@" | sed -nE 's#^\s+(\S+ => )?(/\S+) \(0x.*#\2#p' | sort -u
}

# copy_library FILE ROOT: the file's content under the name that the linker asks for
copy_library() {
  mkdir -p "$2$(dirname "$1")"
  cp -L "$1" "$2$1"
}

# a_user ROOT: the user that images run as, with a name, and how names of hosts are looked up
a_user() {
  mkdir -p "$1"/{etc,tmp,home/lockstep}
  echo "lockstep:x:65532:65532::/home/lockstep:/nonexistent" >"$1/etc/passwd"
  echo "lockstep:x:65532:" >"$1/etc/group"
  echo "hosts: files dns" >"$1/etc/nsswitch.conf"
}

# load_image CLUSTER TAR
load_image() {
  local at
  find_cluster "$1"
  [[ -e $dir/ready ]] || die "cluster $1 does not run" "start it with tests/cluster/up.sh --name $1"
  for at in "$dir"/nodes/*/; do
    node_import "$(basename "$at" | tr -d n)" "$2" >&2
  done
}
