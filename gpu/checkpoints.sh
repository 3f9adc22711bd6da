#!/usr/bin/env bash
# What the upload of checkpoints costs the training beside it, on this machine's GPU
# (`python -m benchmarks.checkpoints`, docs/reference/performance.md). No Kubernetes, no network.
#
#   gpu/checkpoints.sh --base 0.6B
#
# $PYTHON (default python3) needs what gpu/check.sh needs.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/gpu/sources.sh"
export QWEN3_ML_PYTHON=${PYTHON:-python3}
exec "${PYTHON:-python3}" -m benchmarks.checkpoints "$@"
