#!/usr/bin/env bash
# Makes the Python environment with PyTorch that tests and benchmarks compare Lockstep against, and prints its
# interpreter's path. It lies outside the checkout and is made once (about a minute, 5 GB).
#   LOCKSTEP_PYTHON   an interpreter that has torch, numpy, safetensors and tensorboard: used as it is, nothing is installed.
#                     Where it lacks transformers or torchvision, the comparison with it is left out
#   LOCKSTEP_CACHE    where the environment is kept (default ${XDG_CACHE_HOME:-$HOME/.cache}/lockstep)
set -euo pipefail

torch=2.11.0
transformers=5.24.0
torchvision=0.26.0

if [ -n "${LOCKSTEP_PYTHON:-}" ]; then
    "$LOCKSTEP_PYTHON" -c 'import torch, numpy, safetensors, tensorboard' || {
        echo "pytorch-venv: LOCKSTEP_PYTHON=$LOCKSTEP_PYTHON lacks torch, numpy, safetensors or tensorboard;" \
            "install them there or unset LOCKSTEP_PYTHON" >&2
        exit 1
    }
    echo "$LOCKSTEP_PYTHON"
    exit
fi

cache=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}
venv=$cache/pytorch-$torch-venv
mkdir -p "$cache"
exec 9>"$cache/.pytorch-venv.lock"
flock 9

# The stamp is written last: a half-made environment is made again.
if [ ! -e "$venv/.complete-with-torchvision" ]; then
    echo "pytorch-venv: installing torch $torch into $venv (about a minute, 5 GB)" >&2
    rm -rf "$venv"
    python3 -m venv "$venv" || {
        echo "pytorch-venv: python3 -m venv failed; on Debian install python3-venv" >&2
        exit 1
    }
    "$venv/bin/pip" install --quiet --disable-pip-version-check "torch==$torch" numpy safetensors "tensorboard==2.21.0" \
        "transformers==$transformers" "torchvision==$torchvision" >&2 || {
        echo "pytorch-venv: pip could not install torch $torch; check the network, or set LOCKSTEP_PYTHON" >&2
        exit 1
    }
    touch "$venv/.complete-with-torchvision"
fi
echo "$venv/bin/python"
