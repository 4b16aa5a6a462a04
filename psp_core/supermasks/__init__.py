"""Supermasks in superposition: frozen random weights, a mask for each task, and which mask a batch needs.

Paper B (SupSup, papers.md part B). Building blocks; none knows of trials or studies.
"""

from psp_core.supermasks.bits import bit_bytes, csc_bytes, packed, unpacked
from psp_core.supermasks.hopfield import RULES, HopfieldMemory
from psp_core.supermasks.inference import binary, exhaustive, gradient_descent, is_new_task, one_shot
from psp_core.supermasks.mask_table import MaskTable
from psp_core.supermasks.masks import (
    erdos_renyi_density,
    mask_gradient,
    threshold_mask,
    threshold_score_gradient,
    top_k_mask,
    top_k_score_gradient,
)
from psp_core.supermasks.objectives import OBJECTIVES, Objective, entropy, superfluous
from psp_core.supermasks.recovery import RecoveryConfig, recover
from psp_core.supermasks.superposition import Superposition
from psp_core.supermasks.weights import FROZEN_WEIGHTS, FrozenWeights, score_init, signed_kaiming_constant

__all__ = [
    "FROZEN_WEIGHTS",
    "OBJECTIVES",
    "RULES",
    "FrozenWeights",
    "HopfieldMemory",
    "MaskTable",
    "Objective",
    "RecoveryConfig",
    "Superposition",
    "binary",
    "bit_bytes",
    "csc_bytes",
    "entropy",
    "erdos_renyi_density",
    "exhaustive",
    "gradient_descent",
    "is_new_task",
    "mask_gradient",
    "one_shot",
    "packed",
    "recover",
    "score_init",
    "signed_kaiming_constant",
    "superfluous",
    "threshold_mask",
    "threshold_score_gradient",
    "top_k_mask",
    "top_k_score_gradient",
    "unpacked",
]
