#!/usr/bin/env bash
# Makes the Python environment with torchft that the benchmark of recovery compares Lockstep against, and prints its
# interpreter's path. PyTorch itself is that of pytorch-venv.sh, which a .pth file leads to, so that this one takes some MB
# and seconds. It lies outside the checkout and is made once.
#   LOCKSTEP_TORCHFT_PYTHON   an interpreter that has torch and torchft: used as it is, nothing is installed
#   LOCKSTEP_PYTHON, LOCKSTEP_CACHE   as for pytorch-venv.sh
set -euo pipefail

torchft=0.2.0
# What `import torchft` needs besides PyTorch; torchft itself is installed without what it asks for, as that is PyTorch anew.
needs=("opentelemetry-exporter-otlp-proto-http==1.45.2" "opentelemetry-sdk==1.45.2")

if [ -n "${LOCKSTEP_TORCHFT_PYTHON:-}" ]; then
    "$LOCKSTEP_TORCHFT_PYTHON" -c 'import torch, torchft, safetensors' || {
        echo "torchft-venv: LOCKSTEP_TORCHFT_PYTHON=$LOCKSTEP_TORCHFT_PYTHON lacks torch, torchft or safetensors;" \
            "install them there or unset LOCKSTEP_TORCHFT_PYTHON" >&2
        exit 1
    }
    echo "$LOCKSTEP_TORCHFT_PYTHON"
    exit
fi

pytorch=$("$(dirname "${BASH_SOURCE[0]}")/pytorch-venv.sh")
cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}
venv=$cache/torchft-$torchft-venv
exec 9>"$cache/.torchft-venv.lock"
flock 9

# The stamp is written last, and names the PyTorch that it leads to: a half-made environment is made again.
if [ "$(cat "$venv/.complete" 2>/dev/null)" != "$pytorch" ]; then
    echo "torchft-venv: installing torchft $torchft into $venv" >&2
    rm -rf "$venv"
    "$pytorch" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${needs[@]}" >&2 &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "torchft==$torchft" >&2 || {
        echo "torchft-venv: pip could not install torchft $torchft; check the network, or set LOCKSTEP_TORCHFT_PYTHON" >&2
        exit 1
    }
    site='import sysconfig; print(sysconfig.get_paths()["purelib"])'
    "$pytorch" -c "$site" >"$("$venv/bin/python" -c "$site")/pytorch.pth"
    "$venv/bin/python" -c 'import torch, torchft' >&2
    echo "$pytorch" >"$venv/.complete"
fi
echo "$venv/bin/python"
