#!/usr/bin/env bash
# Checks that this machine's GPU serves: the product's own pool pod (fetch-base, sidecar, vLLM with the
# gateway inside) as processes, beside a real S3 server, on a base model of a real Qwen3 shape with
# random weights. Sampled chats by a public name must be answered. No Kubernetes, no network.
#
#   gpu/serve.sh                    # the 0.6B shape
#   gpu/serve.sh --base 8B          # the shape of Qwen3-8B (50 GB in --work)
#   gpu/serve.sh --vllm-env VLLM_USE_FLASHINFER_SAMPLER=1   # how pools died before the setting
#
# Needs root: compilers that this machine has and the server image hasn't (nvcc, g++) are hidden from
# everything that runs here, since code that compiles itself would work on such a machine alone.
# $PYTHON (default python3) needs gpu/requirements-serve.txt; the project's own packages are taken from
# this checkout. `gpu/bundle.sh serve` packs what a machine without network lacks.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${QWEN3_COMPILERS_HIDDEN:-}" ]; then
  QWEN3_COMPILERS_HIDDEN=1 exec unshare --mount --propagation private bash "$0" "$@"
fi
nothing=$(mktemp -d)
for name in nvcc g++ c++ clang++; do
  for path in $(type -ap "$name" || true); do
    mount --bind /dev/null "$(realpath "$path")"
  done
done
for folder in /usr/local/cuda*; do
  if [ -d "$folder" ] && [ ! -L "$folder" ]; then mount --bind "$nothing" "$folder"; fi
done
unset CUDA_HOME CUDA_PATH CUDA_ROOT PYTHONOPTIMIZE
source "$root/gpu/sources.sh"
exec "${PYTHON:-python3}" -m gpu_check.serving "$@"
