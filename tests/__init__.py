"""Tests. Without a CUDA device Triton interprets kernels, which it must know before anything imports it."""

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
