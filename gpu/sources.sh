# Sourced by the scripts beside it: the project's own packages, from this checkout, on PYTHONPATH.
sources=$root:$root/gpu:$root/tests
for source in "$root"/*/src; do sources=$sources:$source; done
export PYTHONPATH=$sources${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
