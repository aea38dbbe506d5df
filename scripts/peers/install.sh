#!/bin/sh
# Installs what `make bench-peers` compares with: PyTorch and onnx from Debian's packages, ONNX Runtime from npm into
# build/peers. Nothing of it is needed for anything else. What is there already is left as it is.
#   install.sh --check    installs nothing; exit status 0 when one of the two can be compared with, else 1, saying so
# exit status: 0 all there, 1 something could not be installed
set -u
cd "$(dirname "$0")/../.." || exit 1
RUNTIME=onnxruntime-node@${ONNXRUNTIME_VERSION:-1.30.0}

warn() { printf 'install.sh: %s\n' "$*" >&2; }

if [ "${1-}" = --check ]; then
    /usr/bin/python3 -c 'import torch' 2>/dev/null && exit 0
    [ -d build/peers/node_modules/onnxruntime-node ] && exit 0
    warn 'neither PyTorch nor ONNX Runtime is there to compare with: make peers-install gets them (1 GB)'
    exit 1
fi

# Debian's python3 has the packages, another one in the PATH has not.
packages=''
/usr/bin/python3 -c 'import torch' 2>/dev/null || packages="$packages python3-torch"
/usr/bin/python3 -c 'import onnx' 2>/dev/null || packages="$packages python3-onnx"
command -v npm >/dev/null || packages="$packages npm"
if [ -n "$packages" ]; then
    command -v apt-get >/dev/null || {
        warn "missing:$packages; without apt, install them in your own way"
        exit 1
    }
    root=''
    [ "$(id -u)" -eq 0 ] || root=sudo
    # shellcheck disable=SC2086 # several packages
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages || {
        warn "this failed: $root apt-get install --no-install-recommends$packages (apt-get update first?)"
        exit 1
    }
fi

# --ignore-scripts: its install script would only fetch libraries for GPUs.
if [ ! -d build/peers/node_modules/onnxruntime-node ]; then
    mkdir -p build/peers || exit 1
    npm install --prefix build/peers --ignore-scripts --no-audit --no-fund "$RUNTIME" || {
        warn "npm could not install $RUNTIME"
        exit 1
    }
fi
echo 'install.sh: all there'
