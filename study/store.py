"""The trial store: one folder or URI of parquet files, the truth about what has been measured.

OUT/study.yaml            the whole study, what of it was run (--set), and what ran it
OUT/trials/PACK.parquet   one row per trial; written last, so that it marks the pack as done
OUT/evals/PACK.parquet    one row per (trial, tasks_seen, task)
OUT/curves/PACK.parquet   one row per (trial, step, task), of trials with eval_every
OUT/crosstalk/PACK.parquet   one row per (trial, num_models), of retrieval
OUT/predictions/PACK.parquet one row per (trial, theory, tasks_seen), of prediction
OUT/states/TRIAL.pt       with --keep-state or keep_models: where a trial ended, to go on from and to be loaded
OUT/checkpoints/PACK/     while a pack is unfinished: how far it is, and its state
OUT/tuning.json           what a study that chooses settings tried, and chose (`study.standing.record`)
OUT/driver.json           while a run writes here
OUT/live.json             likewise: what `psp status --watch` shows (`study.heartbeat`)
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from psp_core.experiment import Length
from psp_core.messages import one_line
from study.files import Files
from study.lease import FILE as LEASE_FILE
from study.nested import Finished
from study.provenance import provenance
from study.redact import without_secrets
from study.schema import MEASURED, TRIALS
from study.spec import PROVENANCE, StudyError, StudySpec, parse_yaml
from study.unfinished import Unfinished
from study.yaml_text import dump_yaml

RUNS: Final = "runs"  # in study.yaml, under what ran it
CHECKPOINT: Final = ".pt"
COMPACT: Final = "compact-"
FILES_IN_ONE: Final = 2000  # packs: of 16 trials and 50 tasks, some 40 million measurements
ROW_GROUP_FILES: Final = 200

Row = Mapping[str, Any]
T = TypeVar("T")


class TrialStore:
    """Reads and writes one trial store.

    Args:
        out: a local path, or any URI that pyarrow.fs understands.
        reached: as `Files` has it.

    Raises:
        StudyError: the place cannot be opened, or is a file.
    """

    def __init__(self, out: str, *, reached: bool = False) -> None:
        """Open the place; nothing is created yet."""
        try:
            self.files = Files(out, reached=reached)
        except ValueError as error:
            raise StudyError(f"out={without_secrets(out)!r} {error}") from None
        self.out = self.files.shown

    @property
    def uri(self) -> str:
        """The store's absolute place, the same from every process that can reach it; may hold secrets."""
        return self.files.uri

    # The study

    def check(self, spec: StudySpec) -> None:
        """Make sure that this is, or can become, the store of `spec`.

        Raises:
            StudyError: the place holds another study, or files that are no store.
        """
        stored = self.read_study()
        if stored is None and set(self.files.names("")) - {LEASE_FILE}:
            raise StudyError(
                f"out={self.out!r} holds files but no study.yaml, so it is no trial store; choose an empty folder."
            )
        if stored is not None and stored.name != spec.name:
            raise StudyError(
                f"out={self.out!r} belongs to study {stored.name!r}, not {spec.name!r}; choose another folder."
            )

    def claim(self, spec: StudySpec, ran_with: Mapping[str, str]) -> None:
        """Make this the store of `spec`, or extend it where it already is.

        What is kept is the whole study. A part of it that is run, or values beside it, by `--set`, are kept as a run.

        Args:
            spec: what is about to be run.
            ran_with: what runs it.

        Raises:
            StudyError: as `check`, or the place cannot be written.
        """
        self.check(spec)
        runs, this = self.runs(), {"set": list(spec.assignments), **ran_with}
        content = {
            **(spec.whole or spec).to_mapping(),
            PROVENANCE: {**ran_with, RUNS: [run for run in runs if run != this] + [this]},
        }
        try:
            self.files.write("study.yaml", dump_yaml(content).encode())
        except OSError as error:
            raise StudyError(f"out={self.out!r} cannot be written: {error}. Choose another place.") from None

    def read_study(self) -> StudySpec | None:
        """The study this store belongs to; None where there is none yet.

        Raises:
            StudyError: its study.yaml is damaged.
        """
        if not self.files.exists("study.yaml"):
            return None
        text = self.files.read("study.yaml").decode(errors="replace")
        content: object = None
        try:
            content = parse_yaml(text, "study.yaml")
            return StudySpec.from_mapping(content)
        except StudyError as error:
            raise StudyError(f"{self.out}/study.yaml: {error}{_of_another_version(content)}") from None

    def read_parts(self, spec: StudySpec) -> list[StudySpec]:
        """What was run of the store's study by `--set`; nothing of what the study, read anew, has no values for."""
        assignments = dict.fromkeys(tuple(map(str, run["set"])) for run in self.runs() if run["set"])
        parts = []
        for some in assignments:
            with contextlib.suppress(StudyError):
                parts.append(spec.with_values(list(some)))
        return parts

    def provenance(self) -> dict[str, Any]:
        """What its study.yaml says of what ran it: versions by name, and under RUNS each run that differs."""
        if not self.files.exists("study.yaml"):
            return {}
        content = parse_yaml(self.files.read("study.yaml").decode(errors="replace"), "study.yaml")
        ran_with = content.get(PROVENANCE) if isinstance(content, Mapping) else None
        return dict(ran_with) if isinstance(ran_with, Mapping) else {}

    def runs(self) -> list[dict[str, Any]]:
        """Each run so far that differs from the others: what was set, and what ran it."""
        runs = self.provenance().get(RUNS)
        good = (run for run in runs or () if isinstance(run, Mapping) and isinstance(run.get("set"), list))
        return [dict(run) for run in good] if isinstance(runs, list) else []

    # Packs

    def write_pack(
        self,
        pack_id: str,
        trials: Sequence[Row],
        evals: Sequence[Row],
        *,
        others: Mapping[str, Sequence[Row]] = MappingProxyType({}),
    ) -> None:
        """Store a finished pack, its trials last; of other tables than evals there is a file where there are rows.

        Errors are stored without the secrets that a library's message may repeat.
        """
        shown = [{**row, "error": without_secrets(row.get("error") or "") or None} for row in trials]
        some = [(folder, rows) for folder, rows in sorted(others.items()) if rows]
        for folder, rows in (*some, ("evals", evals), ("trials", shown)):
            schema = TRIALS if folder == "trials" else MEASURED[folder]
            sink = pa.BufferOutputStream()
            pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd")
            self.files.write(f"{folder}/{pack_id}.parquet", sink.getvalue())

    def finished(self) -> tuple[dict[str, Finished], list[str]]:
        """What the store says of each trial, and a sentence for each file that cannot be read.

        A trial that failed once and was trained again later counts as what it became.
        """
        found: dict[str, Finished] = {}
        damaged: list[str] = []
        evals = self.files.names("evals", ".parquet")  # written first: without its evals a pack is not there
        for folder in MEASURED:
            for name in self.files.names(folder, ".parquet"):
                self._try_to_read(f"{folder}/{name}", pq.read_metadata, damaged)
        for name in set(evals).intersection(self.files.names("trials", ".parquet")):
            rows = self._try_to_read(f"trials/{name}", _read_outcomes, damaged) or []
            for row in rows:
                before = found.get(row["trial_id"])
                if before is None or before.status == "failed":
                    found[row["trial_id"]] = Finished(row["status"], row["error"], _length(row))
        return found, damaged

    def accuracies(self) -> dict[tuple[str, int], float]:
        """Mean accuracy over the tasks that were measured, by trial id and number of tasks seen."""
        columns = ["trial_id", "tasks_seen", "accuracy"]
        found: dict[tuple[str, int], float] = {}
        for name in set(self.files.names("evals", ".parquet")).intersection(self.files.names("trials", ".parquet")):
            table = self.files.parse(f"evals/{name}", lambda file: pq.read_table(file, columns=columns))
            means = table.group_by(columns[:2]).aggregate([("accuracy", "mean")])
            rows = zip(*(means[column].to_pylist() for column in (*columns[:2], "accuracy_mean")), strict=True)
            found |= {(trial, seen): accuracy for trial, seen, accuracy in rows}
        return found

    def compact(self) -> tuple[int, int]:
        """Put the files of all packs together in few large ones: the same rows, found in seconds.

        Safe to stop: a file goes when its rows stand in a larger one, and rows that stand in two for a
        while count once.

        Returns:
            How many files of trials there were, and are.

        Raises:
            StudyError: a file is damaged; nothing is changed.
        """
        _, damaged = self.finished()
        if damaged:
            raise StudyError(" ".join(damaged))
        before = self.files.names("trials", ".parquet")
        whole = set(self.files.names("evals", ".parquet"))
        for folder in MEASURED:  # of a pack whose trials were never written, or stand elsewhere
            for name in set(self.files.names(folder, ".parquet")).difference(before):
                self.files.delete(f"{folder}/{name}")
        loose = [name for name in before if name in whole and not name.startswith(COMPACT)]
        for start in range(0, len(loose), FILES_IN_ONE):
            self._merge(loose[start : start + FILES_IN_ONE])
        return len(before), len(self.files.names("trials", ".parquet"))

    def _merge(self, names: Sequence[str]) -> None:
        if len(names) < 2:
            return
        merged = f"{COMPACT}{hashlib.blake2b(''.join(names).encode(), digest_size=8).hexdigest()}.parquet"
        there = {"trials": names, "evals": names}
        for folder in MEASURED.keys() - there.keys():
            present = set(self.files.names(folder))
            there[folder] = [name for name in names if name in present]
        for folder, schema in (*MEASURED.items(), ("trials", TRIALS)):
            if there[folder]:
                self._write_together(folder, schema, there[folder], merged)
        for folder in ("trials", *MEASURED):  # measurements without trials are not there: another order could lose them
            for name in there[folder]:
                self.files.delete(f"{folder}/{name}")

    def _write_together(self, folder: str, schema: pa.Schema, names: Sequence[str], merged: str) -> None:
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for start in range(0, len(names), ROW_GROUP_FILES):
                some = names[start : start + ROW_GROUP_FILES]
                writer.write_table(pa.concat_tables([self._rows(folder, name, schema) for name in some]))
        self.files.write(f"{folder}/{merged}", sink.getvalue())

    def _rows(self, folder: str, name: str, schema: pa.Schema) -> pa.Table:
        """A pack's rows; measurements without those of trials whose row was removed from the pack."""
        table = self._table(f"{folder}/{name}", schema)
        if folder == "trials":
            return table
        trials = self.files.parse(f"trials/{name}", lambda file: pq.read_table(file, columns=["trial_id"]))
        return table.filter(pc.is_in(table["trial_id"], trials["trial_id"]))

    def _table(self, name: str, schema: pa.Schema) -> pa.Table:
        """A file as this version's schema has it: a column that it does not know is empty."""
        table = self.files.parse(name, pq.read_table)
        columns = [
            table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
            for field in schema
        ]
        return pa.table(columns, schema=schema)

    def _try_to_read(self, name: str, read: Callable[[pa.NativeFile], T], damaged: list[str]) -> T | None:
        """What `read` makes of a file; None, and a sentence in `damaged`, where it cannot."""
        try:
            return self.files.parse(name, read)
        except (OSError, pa.ArrowException, ValueError) as error:  # ValueError: text that is no UTF-8
            damaged.append(f"{self.out}/{name} cannot be read ({one_line(error)}).")
            return None

    # Where trials ended

    def keep_state(self, trial_id: str, content: bytes) -> None:
        """Keep a trial's state at its end, so that one of more tasks can go on from there."""
        self.files.write(f"states/{trial_id}{CHECKPOINT}", content)

    def state(self, trial_id: str) -> bytes | None:
        """A trial's state at its end; None where it was not kept."""
        with contextlib.suppress(FileNotFoundError):
            return self.files.read(f"states/{trial_id}{CHECKPOINT}")
        return None

    def kept(self) -> set[str]:
        """The trials whose state is kept."""
        return {name.removesuffix(CHECKPOINT) for name in self.files.names("states", CHECKPOINT)}

    def forget_state(self, trial_id: str) -> None:
        """Remove a trial's state."""
        self.files.delete(f"states/{trial_id}{CHECKPOINT}")

    # Unfinished packs

    def note_progress(self, pack_id: str, trial_ids: Sequence[str], tasks_seen: int) -> None:
        """Say that a pack is being trained, and how far it is; no reason to fail where it cannot be said."""
        note = {"trial_ids": list(trial_ids), "tasks_seen": tasks_seen}
        with contextlib.suppress(OSError):
            self.files.write(f"checkpoints/{pack_id}/progress.json", json.dumps(note).encode(), patiently=False)

    def write_checkpoint(self, pack_id: str, tasks_seen: int, content: bytes) -> None:
        """Keep a pack's state, in place of what was kept of it before."""
        folder = f"checkpoints/{pack_id}"
        before = self.files.names(folder, CHECKPOINT)
        written = f"{tasks_seen:06}{CHECKPOINT}"
        self.files.write(f"{folder}/{written}", content)
        for name in before:
            if name != written:  # a pack that is stopped between two tasks is written again
                self.files.delete(f"{folder}/{name}")

    def checkpoints(self, pack_id: str) -> Iterator[bytes]:
        """What is kept of a pack, the newest first: more than one where a worker died while it was replaced."""
        folder = f"checkpoints/{pack_id}"
        for name in reversed(self.files.names(folder, CHECKPOINT)):
            with contextlib.suppress(FileNotFoundError):
                yield self.files.read(f"{folder}/{name}")

    def forget_progress(self, pack_id: str) -> None:
        """Remove what is kept of a pack's way."""
        with contextlib.suppress(OSError):  # litter at worst, and cleaned by the next run
            self.files.delete_folder(f"checkpoints/{pack_id}")

    def tidy(self, planned: Collection[str]) -> None:
        """Clean up after runs that were killed: what is kept of planned packs stays, all else goes."""
        for pack_id in self.files.names("checkpoints"):
            if pack_id not in planned:
                self.forget_progress(pack_id)

    def begin_again(self) -> None:
        """No pack counts as begun until its worker says so; states stay."""
        for pack_id, pack in list(self._unfinished()):
            note = {"trial_ids": pack.trial_ids, "tasks_seen": pack.tasks_seen, "is_waiting": True}
            self.files.write(f"checkpoints/{pack_id}/progress.json", json.dumps(note).encode())

    def unfinished(self) -> list[Unfinished]:
        """All packs that were begun and are not finished."""
        return [pack for _, pack in self._unfinished()]

    def _unfinished(self) -> Iterator[tuple[str, Unfinished]]:
        for pack_id in self.files.names("checkpoints"):
            folder = f"checkpoints/{pack_id}"
            try:
                noted = json.loads(self.files.read(f"{folder}/progress.json"))
                states = self.files.names(folder, CHECKPOINT)
                yield (
                    pack_id,
                    Unfinished(
                        trial_ids=tuple(noted["trial_ids"]),
                        tasks_seen=noted["tasks_seen"],
                        tasks_kept=int(states[-1].removesuffix(CHECKPOINT)) if states else 0,
                        is_waiting=noted.get("is_waiting", False),
                    ),
                )
            except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
                continue  # just removed, or damaged


def _of_another_version(content: object) -> str:
    """What to add to an error where another version of this program wrote the study."""
    ran_with = content.get(PROVENANCE) if isinstance(content, Mapping) else None
    if not isinstance(ran_with, Mapping):
        return ""
    theirs, ours = (
        f"psp {program.get('psp')} (commit {str(program.get('commit'))[:12]})" for program in (ran_with, provenance())
    )
    return f" The store was written by {theirs}, and this is {ours}: use the newer of them." if theirs != ours else ""


def _read_outcomes(file: pa.NativeFile) -> list[Row]:
    wanted = ["trial_id", "status", "error", "num_tasks", "milestones"]
    rows: list[Row] = pq.ParquetFile(file).read(wanted).to_pylist()  # columns that are not there are left out
    return rows


def _length(row: Row) -> Length | None:
    num_tasks = row.get("num_tasks")
    return Length(num_tasks, tuple(row.get("milestones") or ())) if num_tasks else None
