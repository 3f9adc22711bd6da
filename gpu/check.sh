#!/usr/bin/env bash
# Checks that this machine's GPU trains: the product's own trainer, run as its pod would run it, against
# a real S3 server, on a base model of a real Qwen3 shape with random weights. No Kubernetes, no network.
#
#   gpu/check.sh                              # every scenario on the 0.6B shape, about 15 minutes on an H100
#   gpu/check.sh --base 8B lora qlora         # two of them on the shape of Qwen3-8B (35 GB in --work)
#   gpu/check.sh --cpu                        # the same logic on a tiny model, for machines without a GPU
#
# Scenarios: lora qlora resume oom ladder dpo bounds ddp (two GPUs) nogpu. Ends with a table; the exit status is 1 if anything was off.
# $PYTHON (default python3) needs trainer-image/requirements.txt and gpu/requirements-train.txt; the project's
# own packages are taken from this checkout. `gpu/bundle.sh train` packs what a machine without network lacks.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/gpu/sources.sh"
unset PYTHONOPTIMIZE  # the checks are asserts
exec "${PYTHON:-python3}" -m gpu_check "$@"
