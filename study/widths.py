"""What `psp plan` says of widths that follow from the bytes that a trial may keep."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from psp_core.experiment import Experiment


def widths(trials: Iterable[Experiment]) -> Iterator[str]:
    """A line for each limit of bytes: each width with the curves that have it, the widest first."""
    found: defaultdict[int, defaultdict[int, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for trial in trials:
        if most := trial.row.get("max_bytes"):
            found[most][trial.row["width"]]["".join(trial.curve_of.values())] = None
    for most, of_width in sorted(found.items()):
        named = (f"{width} ({'; '.join(curves)})" for width, curves in sorted(of_width.items(), reverse=True))
        yield f"  widths   at most {most:,} bytes: {', '.join(named)}"
