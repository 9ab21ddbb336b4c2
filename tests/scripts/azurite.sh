#!/usr/bin/env bash
# Brings Azurite, Microsoft's own emulator of Azure's blobs (MIT), from npm into the cache once, and prints the path of its
# blob server.
#   LOCKSTEP_CACHE   where it is kept (default ${XDG_CACHE_HOME:-$HOME/.cache}/lockstep)
set -euo pipefail

version=3.37.0
cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}
home=$cache/azurite-$version
mkdir -p "$cache"
exec 9>"$cache/.azurite.lock"
flock 9

# The stamp is written last: what is half there is fetched again.
if [ ! -e "$home/.complete" ]; then
    echo "azurite: installing $version into $home" >&2
    rm -rf "$home"
    mkdir -p "$home"
    npm install --prefix "$home" --no-audit --no-fund --ignore-scripts --loglevel=error "azurite@$version" >&2 || {
        echo "azurite: npm could not install azurite $version; check the network, and that Node.js is there" >&2
        exit 1
    }
    touch "$home/.complete"
fi
echo "$home/node_modules/.bin/azurite-blob"
