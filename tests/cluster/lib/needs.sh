# Sourced: what a machine must have. Debian packages are installed where that is possible.
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it

# One a line: what is looked for, the Debian package that has it.
programs="\
ip iproute2
runc runc
/usr/lib/cni/bridge containernetworking-plugins
/usr/lib/cni/host-local containernetworking-plugins
iptables iptables
openssl openssl
gcc gcc
python3 python3
flock util-linux
nsenter util-linux
unshare util-linux
setpriv util-linux
mountpoint util-linux
pivot_root util-linux
hostname hostname"

have() { command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 || -x $1 ]]; }

missing_packages() {
  local program package
  while read -r program package; do have "$program" || echo "$package"; done <<<"$programs" | sort -u
}

# install_packages: installs those that are missing, and prints one line for each that could not be
install_packages() {
  local packages
  mapfile -t packages < <(missing_packages)
  if ((${#packages[@]})) && have apt-get; then
    say "installing ${packages[*]}"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${packages[@]}"; } >&2 ||
      say "apt-get could not install them"
    mapfile -t packages < <(missing_packages)
  fi
  ((!${#packages[@]})) || printf 'package %s\n' "${packages[@]}"
}

# needs: installs what can be installed, then prints one line for each thing that is missing
needs() {
  [[ $(uname -s) == Linux ]] || echo "Linux"
  if [[ $(id -u) != 0 ]]; then
    echo "root (network namespaces, mounts and control groups are made)"
    return
  fi
  install_packages
  have go || [[ -d $("$here/build.sh" --where) ]] || echo "Go 1.26 or later (to build the parts)"
  unshare --mount --net --pid --uts --ipc --fork true 2>/dev/null || echo "the right to make namespaces"
  unshare --net ip link add probe0 type bridge 2>/dev/null || echo "bridges in the kernel"
  unshare --net ip link add probe0 type veth peer name probe1 2>/dev/null || echo "veth in the kernel"
  grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || echo "overlayfs in the kernel"
  mountpoint -q /sys/fs/cgroup || echo "control groups in /sys/fs/cgroup"
}
