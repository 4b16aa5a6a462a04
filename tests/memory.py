"""How much memory a piece of work takes, counted and not measured: the same on every machine, whatever else it does."""

from collections.abc import Callable
from itertools import accumulate

from torch.profiler import ProfilerActivity, profile


def peak_bytes(work: Callable[[], object]) -> int:
    """What tensors on the CPU hold at most at once, beside those that were there before: what PyTorch's allocator gave.

    A process needs more: what is freed does not go back to the system at once.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as recorded:
        work()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))
