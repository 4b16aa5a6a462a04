"""Drops trials from a store: which ones a condition means, and how their rows go."""

import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from psp_core.messages import did_you_mean
from study.schema import MEASURED, TRIALS
from study.spec import StudyError
from study.store import Row, TrialStore

_COMPARED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM: Final = re.compile(rf"\s*(\w+)\s*({'|'.join(_COMPARED)})\s*(.+?)\s*")
_FAILED: Final[Row] = {"status": "failed"}
_READ: Final[dict[str, Callable[[str], Any]]] = {
    "int32": int,
    "int64": int,
    "double": float,
    "string": str,
    "bool": {"true": True, "false": False}.__getitem__,
}


@dataclass(frozen=True)
class Condition:
    """What holds of a trial's row, such as `lr=0.1,0.3` or `final_accuracy<0.2`.

    Attributes:
        column: of the table of trials.
        comparison: one of `=`, `!=`, `<`, `<=`, `>` and `>=`.
        values: with `=` any of several, with `!=` none of them; else one. None stands for `null`, no value.
    """

    column: str
    comparison: str
    values: tuple[Any, ...]

    @classmethod
    def read(cls, text: str) -> Self:
        """The condition that a text says.

        Raises:
            StudyError: it is of another form, there is no such column, or a value is not of the column's type.
        """
        form = _FORM.fullmatch(text)
        if not form:
            raise StudyError(f"--where {text!r} must read column=value, or have one of {', '.join(_COMPARED)}.")
        column, comparison, given = form.groups()
        if column not in TRIALS.names or str(TRIALS.field(column).type) not in _READ:
            raise StudyError(
                f"--where {text!r}: trials have no column {column!r}; {did_you_mean(column, TRIALS.names)}"
            )
        kind = str(TRIALS.field(column).type)
        pieces = given.split(",") if comparison in ("=", "!=") else [given]
        try:
            values = tuple(None if piece == "null" else _READ[kind](piece) for piece in pieces)
        except (ValueError, KeyError):
            raise StudyError(f"--where {text!r}: {column} is of type {kind}, and {given!r} is not.") from None
        return cls(column, comparison, values)

    def holds(self, row: Row) -> bool:
        """Whether a row keeps it; a comparison with no value never holds."""
        value = row.get(self.column)
        if self.comparison in ("=", "!="):
            return (value in self.values) == (self.comparison == "=")
        return value is not None and _COMPARED[self.comparison](value, self.values[0])


def rows_where(store: TrialStore, conditions: Sequence[Condition]) -> tuple[list[Row], int]:
    """The rows of the trials that keep all conditions, each trial once, and how many trials there are.

    Raises:
        StudyError: a file of the store is damaged.
    """
    _, damaged = store.finished()
    if damaged:
        raise StudyError(" ".join(damaged))
    every = dict[str, Row]()
    for name in store.files.names("trials", ".parquet"):
        for row in store.files.parse(f"trials/{name}", pq.read_table).to_pylist():
            if every.get(row["trial_id"], _FAILED)["status"] == "failed":  # which may have been trained again later
                every[row["trial_id"]] = row
    return [row for row in every.values() if all(each.holds(row) for each in conditions)], len(every)


def remove(store: TrialStore, trial_ids: Collection[str]) -> None:
    """Remove trials: their rows in every table, and where they ended.

    Safe to stop: a trial's row goes first, and measurements without their trial's row do not count. To be called under
    the store's lease.
    """
    gone = pa.array(sorted(trial_ids))
    for name in store.files.names("trials", ".parquet"):
        if not _has(store, f"trials/{name}", gone):
            continue
        is_whole = _rewrite(store, f"trials/{name}", gone) == 0
        for folder in MEASURED:
            if is_whole:
                store.files.delete(f"{folder}/{name}")
            elif store.files.exists(f"{folder}/{name}"):
                _rewrite(store, f"{folder}/{name}", gone)
    for trial_id in store.kept().intersection(trial_ids):
        store.forget_state(trial_id)


def _has(store: TrialStore, file: str, gone: pa.Array) -> bool:
    table = store.files.parse(file, lambda opened: pq.read_table(opened, columns=["trial_id"]))
    return bool(pc.any(pc.is_in(table["trial_id"], gone)).as_py())


def _rewrite(store: TrialStore, file: str, gone: pa.Array) -> int:
    """Write a file again without these trials, a row group at a time, and return how many rows are left.

    A file of trials goes where none are left. Another stays, for a pack counts once it has a file of evals.
    """

    def without(opened: pa.NativeFile) -> tuple[pa.Buffer, int]:
        source, sink, num_left = pq.ParquetFile(opened), pa.BufferOutputStream(), 0
        with pq.ParquetWriter(sink, source.schema_arrow, compression="zstd") as writer:
            for number in range(source.num_row_groups):
                table = source.read_row_group(number)
                left = table.filter(pc.invert(pc.is_in(table["trial_id"], gone)))
                writer.write_table(left)
                num_left += len(left)
        return sink.getvalue(), num_left

    content, num_left = store.files.parse(file, without)
    if num_left or not file.startswith("trials/"):
        store.files.write(file, content)
    else:
        store.files.delete(file)
    return num_left
