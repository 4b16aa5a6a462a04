"""The trial store: one folder or URI of parquet files, the truth about what has been measured.

OUT/study.yaml            the study as it was run, and what ran it
OUT/trials/PACK.parquet   one row per trial; written last, so that it marks the pack as done
OUT/evals/PACK.parquet    one row per (trial, tasks_seen, task)
OUT/checkpoints/PACK/     while a pack is unfinished
"""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import yaml

from psp_core.messages import one_line
from study.spec import PROVENANCE, StudyError, StudySpec, parse_yaml

TRIALS: Final = pa.schema(
    [
        ("trial_id", pa.string()),
        ("study", pa.string()),
        ("status", pa.string()),  # ok | diverged | failed
        ("error", pa.string()),
        ("method", pa.string()),
        ("context", pa.string()),
        ("stream", pa.string()),
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("width", pa.int32()),
        ("depth", pa.int32()),
        ("num_tasks", pa.int32()),
        ("lr", pa.float64()),
        ("seed", pa.int64()),
        ("steps_per_task", pa.int32()),
        ("batch_size", pa.int32()),
        ("optimiser", pa.string()),
        ("momentum", pa.float64()),
        ("permute_first", pa.bool_()),
        ("learned_contexts", pa.bool_()),
        ("precision", pa.string()),
        ("eval_tasks", pa.string()),
        ("eval_samples", pa.int32()),  # null: the whole test set
        ("milestones", pa.list_(pa.int32())),
        ("num_params", pa.int64()),  # real numbers that are trained
        ("context_bytes_per_task", pa.int64()),
        ("total_bytes", pa.int64()),  # weights, and the contexts of all tasks
        ("seconds", pa.float64()),  # this trial's share of its pack's time
        ("steps_per_second", pa.float64()),  # its optimiser steps over `seconds`
        ("device", pa.string()),
        ("final_accuracy", pa.float64()),  # mean of R[K-1, :], a fraction
    ]
)
EVALS: Final = pa.schema(
    [
        ("trial_id", pa.string()),
        ("tasks_seen", pa.int32()),  # 1..K
        ("task", pa.int32()),  # 0..K-1
        ("accuracy", pa.float64()),  # a fraction
        ("loss", pa.float64()),  # nats
        ("num_samples", pa.int32()),
    ]
)
STATUSES: Final = ("ok", "diverged", "failed")
STALE_SECONDS: Final = 600.0
"""A pack that has shown no progress for this long is taken as interrupted."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Finished:
    """What a store says of one trial."""

    status: str
    error: str | None


class TrialStore:
    """Reads and writes one trial store.

    Args:
        out: a local path, or any URI that pyarrow.fs understands.

    Raises:
        StudyError: the place cannot be opened, or is a file.
    """

    def __init__(self, out: str) -> None:
        """Open the place; nothing is created yet."""
        self.out = out
        try:
            if "://" in out:
                self.fs, self.root = pafs.FileSystem.from_uri(out)
            else:
                self.fs, self.root = pafs.LocalFileSystem(), str(Path(out).expanduser().absolute())
            kind = self.fs.get_file_info(self.root).type
        except (OSError, pa.ArrowException, ValueError) as error:
            raise StudyError(f"out={out!r} cannot be opened: {error}. Use a folder or a URI such as s3://...") from None
        if kind == pafs.FileType.File:
            raise StudyError(f"out={out!r} is a file; a trial store is a folder: choose another place.")

    @property
    def uri(self) -> str:
        """The store's absolute place, the same from every process on this machine."""
        return self.out if "://" in self.out else self.root

    # The study

    def check(self, spec: StudySpec) -> None:
        """Make sure that this is, or can become, the store of `spec`.

        Raises:
            StudyError: the place holds another study, or files that are no store.
        """
        stored = self.read_study()
        if stored is None and self._entries(""):
            raise StudyError(
                f"out={self.out!r} holds files but no study.yaml, so it is no trial store; choose an empty folder."
            )
        if stored is not None and stored.name != spec.name:
            raise StudyError(
                f"out={self.out!r} belongs to study {stored.name!r}, not {spec.name!r}; choose another folder."
            )

    def claim(self, spec: StudySpec, provenance: Mapping[str, str]) -> None:
        """Make this the store of `spec`, or extend it where it already is.

        Raises:
            StudyError: as `check`, or the place cannot be written.
        """
        self.check(spec)
        content = {**spec.to_mapping(), PROVENANCE: dict(provenance)}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        try:
            self._write("study.yaml", text.encode())
        except OSError as error:
            raise StudyError(f"out={self.out!r} cannot be written: {error}. Choose another place.") from None

    def read_study(self) -> StudySpec | None:
        """The study this store belongs to; None where there is none yet.

        Raises:
            StudyError: its study.yaml is damaged.
        """
        if self.fs.get_file_info(self._path("study.yaml")).type != pafs.FileType.File:
            return None
        with self.fs.open_input_stream(self._path("study.yaml")) as stream:
            text = bytes(stream.read()).decode(errors="replace")
        try:
            return StudySpec.from_mapping(parse_yaml(text, "study.yaml"))
        except StudyError as error:
            raise StudyError(f"{self.out}/study.yaml: {error}") from None

    # Packs

    def write_pack(self, pack_id: str, trials: Sequence[Row], evals: Sequence[Row]) -> None:
        """Store a finished pack, its trials last."""
        for folder, rows, schema in (("evals", evals, EVALS), ("trials", trials, TRIALS)):
            sink = pa.BufferOutputStream()
            pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd")
            self._write(f"{folder}/{pack_id}.parquet", sink.getvalue())

    def finished(self) -> tuple[dict[str, Finished], list[str]]:
        """What the store says of each trial, and a sentence for each file that cannot be read.

        A trial that failed once and was trained again later counts as what it became.
        """
        found: dict[str, Finished] = {}
        damaged = []
        packs = self._entries("evals", ".parquet")  # written first: without its evals a pack is not there
        for name in packs:
            try:
                with self.fs.open_input_file(self._path(f"evals/{name}")) as file:
                    pq.read_metadata(file)
            except (OSError, pa.ArrowException) as error:
                damaged.append(f"{self.out}/evals/{name} cannot be read ({one_line(error)}).")
        for name in set(packs).intersection(self._entries("trials", ".parquet")):
            try:
                with self.fs.open_input_file(self._path(f"trials/{name}")) as file:
                    rows = pq.read_table(file, columns=["trial_id", "status", "error"]).to_pylist()
            except (OSError, pa.ArrowException) as error:
                damaged.append(f"{self.out}/trials/{name} cannot be read ({one_line(error)}).")
                continue
            for row in rows:
                before = found.get(row["trial_id"])
                if before is None or before.status == "failed":
                    found[row["trial_id"]] = Finished(row["status"], row["error"])
        return found, damaged

    # Progress of unfinished packs

    def note_progress(self, pack_id: str, trial_ids: Sequence[str], tasks_seen: int) -> None:
        """Say that a pack is being trained, and how far it is; no reason to fail where it cannot be said."""
        content = {"trial_ids": list(trial_ids), "tasks_seen": tasks_seen, "updated": time.time()}
        with contextlib.suppress(OSError):
            self._write(f"checkpoints/{pack_id}/progress.json", json.dumps(content).encode())

    def forget_progress(self, pack_id: str | None = None) -> None:
        """Remove a pack's progress, or every pack's."""
        with contextlib.suppress(OSError):  # nothing to remove, or removed by another process
            self.fs.delete_dir(self._path("checkpoints" + (f"/{pack_id}" if pack_id else "")))

    def running(self) -> dict[str, int]:
        """Tasks seen so far by each trial of the packs that show signs of life."""
        progress: dict[str, int] = {}
        for content in self._read_progress():
            if time.time() - content["updated"] < STALE_SECONDS:
                progress |= dict.fromkeys(content["trial_ids"], content["tasks_seen"])
        return progress

    def _read_progress(self) -> Iterator[dict[str, Any]]:
        for pack_id in self._entries("checkpoints"):
            try:
                with self.fs.open_input_stream(self._path(f"checkpoints/{pack_id}/progress.json")) as stream:
                    yield json.loads(stream.read())
            except (OSError, ValueError):
                continue  # just removed, or from a run that was killed while writing

    # Files

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _entries(self, folder: str, ending: str = "") -> list[str]:
        selector = pafs.FileSelector(self._path(folder), allow_not_found=True)
        names = [info.base_name for info in self.fs.get_file_info(selector)]
        return sorted(name for name in names if name.endswith(ending) and not name.startswith("."))

    def _write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write a file whole or not at all: renamed into place, or one PUT on an object store."""
        path = self._path(name)
        self.fs.create_dir(path.rpartition("/")[0], recursive=True)
        local = isinstance(self.fs, pafs.LocalFileSystem)
        folder, _, base = path.rpartition("/")
        target = f"{folder}/.{base}.{time.time_ns()}" if local else path
        with self.fs.open_output_stream(target) as stream:
            stream.write(content)
        if local:
            self.fs.move(target, path)
