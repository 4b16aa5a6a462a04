#!/usr/bin/env bash
# All that a GPU is asked, in one call of ten minutes at most; each row is kept as soon as it is measured.
# usage, in the project's root: benchmarks/on_a_gpu.sh OUT
# Needs what the project needs (pyproject.toml), but neither Ray nor data files. With Ray and MNIST (PSP_DATA), then also:
#   python3 -m benchmarks studies --out OUT
set -uo pipefail
out=$1
mkdir -p "$out"
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1
timeout 360 python3 -m benchmarks gpu --out "$out" 2>&1 | tee "$out/gpu.log"
timeout 200 python3 -m pytest -q -m gpu -p no:cacheprovider tests 2>&1 | tee "$out/tests.log" | tail -40
