#!/usr/bin/env bash
# Everything that is measured on a GPU, in one call of at most ten minutes: the tests that need one,
# then the benchmarks, into one file that the book reads.
#
#   bash benchmarks/on_gpu.sh [FOLDER]
#
# FOLDER (default: benchmarks/results) gets cuda.json and gpu-tests.txt. Where a folder `wheels` lies
# beside this script, what it holds is installed first, for machines without a network: the peers
# (pytorch-lightning, torchmetrics, lightning-utilities, accelerate) and whatever else is missing.
# The benchmarks are written part by part, so that a machine that is taken away leaves what it did.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}
mkdir -p "$out"
export PYTHONPATH=src:. CUBLAS_WORKSPACE_CONFIG=:4096:8 PYTHONUNBUFFERED=1
if compgen -G "benchmarks/wheels/*.whl" > /dev/null; then
  python -m pip install --quiet --no-index --no-deps benchmarks/wheels/*.whl
fi
python -c 'import torch; assert torch.cuda.is_available(), "this machine shows torch no GPU"'
# A failed test is told, and does not keep the figures from being made.
timeout 120 python -m pytest -q -p no:cacheprovider tests/test_arithmetic.py tests/test_tickets.py \
  tests/test_sparse.py -k "gpu or cuda" 2>&1 | tee "$out/gpu-tests.txt" || true
timeout 480 python -m benchmarks --out "$out/cuda.json"
