#!/usr/bin/env bash
# node-init.sh DIR NAME IP PARTS: the first process of a node. It gives the node a root of its own, in which only programs
# and devices of this machine are seen, then runs containerd and kubelet. /node is DIR, /parts is PARTS, /images holds
# what to import.
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
dir=$1 name=$2 ip=$3 parts=$4
read -r pid _ </proc/self/stat # /proc is still the machine's
since=$(born "$pid")

root=$dir/root
mount -t tmpfs -o size=256m node "$root"
for part in bin sbin lib lib32 lib64 usr etc; do
  if [[ -L /$part ]]; then
    cp -P "/$part" "$root/$part"
  elif [[ -d /$part ]]; then
    mkdir "$root/$part"
    mount --rbind "/$part" "$root/$part"
    mount -o remount,bind,ro "$root/$part"
  fi
done
mkdir -p "$root"/{proc,sys,dev,run,tmp,old,node,parts,images,var/lib/kubelet,var/lib/containerd,var/log}
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --bind "$dir" "$root/node"
mount --bind "$parts" "$root/parts"
mount --bind "$dir/../../images" "$root/images"
mount --bind "$dir/kubelet" "$root/var/lib/kubelet"
mount --bind "$dir/containerd" "$root/var/lib/containerd"
mount --bind "$dir/log" "$root/var/log"
cd "$root"
pivot_root . old
umount -l /old
mount --make-rshared /
hostname "$name"
echo "$pid $since" >/node/.pid && mv /node/.pid /node/pid

export PATH=/parts:/usr/sbin:/usr/bin:/sbin:/bin
deadline=$((SECONDS + 10))
until ip -4 address show eth0 2>/dev/null | grep -q "inet $ip/" && ip route | grep -q ^default; do
  ((SECONDS < deadline)) || { echo "no network within 10 s"; exit 1; }
  sleep 0.05
done

containerd --config /node/etc/containerd.toml >>/var/log/containerd.log 2>&1 &
socket=/run/containerd/containerd.sock
wait_until 30 ctr --address "$socket" version || { echo "containerd did not answer within 30 s"; exit 1; }
for image in /images/*.tar; do
  [[ -e $image ]] || continue
  ctr --address "$socket" --namespace k8s.io images import --local --digests "$image" >>/var/log/import.log 2>&1
done
kubelet --config=/node/etc/kubelet.yaml --kubeconfig=/node/etc/kubeconfig --hostname-override="$name" --node-ip="$ip" \
  >>/var/log/kubelet.log 2>&1 &
wait -n
echo "containerd or kubelet ended"
