#!/usr/bin/env bash
# Measures training on this machine's GPU: memory against the operator's model, speed against TRL + PEFT
# (`python -m benchmarks.train`, docs/reference/performance.md). No Kubernetes, no network.
#
#   gpu/bench.sh --seconds 380 --results OUT/results.jsonl
#   gpu/bench.sh --defaults                   # what the planner chooses by itself for every base: does it fit?
#   gpu/bench.sh --cpu                        # the same logic on a tiny model, no GPU needed
#
# $PYTHON (default python3) needs trainer-image/requirements.txt and gpu/requirements-train.txt without the S3
# server; `gpu/bundle.sh train` packs what a machine without network lacks.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/gpu/sources.sh"
exec "${PYTHON:-python3}" -m benchmarks.train "$@"
