"""Reservoir sampling: of all samples seen so far, each is kept with the same probability."""

import torch
from torch import Tensor

# N samples, M slots


def kept_samples(num_before: int, num_samples: int, num_slots: int, rng: torch.Generator) -> Tensor:
    """Which of the next samples stands in each slot after all of them were seen, (M,) int64; -1 where the slot stays.

    Sample i of the stream, from 0, goes into slot i while there are free ones; afterwards into slot j, uniform on
    0..i, if j < M, in place of what was there.

    Args:
        num_before: samples of the stream that were seen before.
        num_samples: how many come, numbered from 0 in the result.
        num_slots: M.
        rng: draws j.

    Source: algorithm R of Vitter 1985, "Random sampling with a reservoir".
    """
    number_N = torch.arange(num_samples)
    of_stream_N = number_N + num_before
    shares_N = torch.rand(num_samples, generator=rng, dtype=torch.float64)
    slot_N = torch.where(of_stream_N < num_slots, of_stream_N, (shares_N * (of_stream_N + 1)).long())
    is_kept_N = slot_N < num_slots
    last_M = torch.full((num_slots,), -1)
    return last_M.scatter_reduce_(0, slot_N[is_kept_N], number_N[is_kept_N], "amax")
