"""Reads one experiment of a store: the function behind `analysis.load`."""

from collections.abc import Mapping

from analysis.measured import Measured
from analysis.plot import experiments, with_roles
from analysis.roles import said
from analysis.selection import Selection, select
from analysis.store import StoreError, read_store


def experiment(out: str, selection: Selection, roles: Mapping[str, str]) -> Measured:
    """As `analysis.load`."""
    whole = read_store(out)
    store = select(whole, selection)
    if store.evals.empty:
        raise StoreError(f"out={out!r} holds no measured accuracy: retrieval has none, and see psp status.")
    found = [measured for _, measured in experiments(with_roles(store, roles, whole))]
    if len(found) > 1:
        each = "; ".join(
            ", ".join(said(name, value) for name, value in measured.where.items()) for measured in found[:6]
        )
        raise StoreError(
            f"out={out!r} holds {len(found)} experiments, which no figure shows together: {each}. "
            "Name one with select, or show the setting by hue, dashes or panel."
        )
    (measured,) = found
    return measured
