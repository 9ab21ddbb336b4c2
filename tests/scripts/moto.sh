#!/usr/bin/env bash
# Brings moto's server (Apache-2.0), which plays Amazon's S3, from PyPI into a venv in the cache once, and prints its path.
#   LOCKSTEP_CACHE   where it is kept (default ${XDG_CACHE_HOME:-$HOME/.cache}/lockstep)
set -euo pipefail

version=5.2.5
cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}
home=$cache/moto-$version
mkdir -p "$cache"
exec 9>"$cache/.moto.lock"
flock 9

# The stamp is written last: what is half there is made again.
if [ ! -e "$home/.complete" ]; then
    echo "moto: installing $version into $home" >&2
    rm -rf "$home"
    python3 -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check "moto[s3,server]==$version" >&2 || {
        echo "moto: pip could not install moto $version; check the network" >&2
        exit 1
    }
    touch "$home/.complete"
fi
echo "$home/bin/moto_server"
