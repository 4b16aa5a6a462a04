"""The trial store's columns come from the parts, and files that are older than a column are still read."""

import dataclasses
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from psp_core.experiments import EXPERIMENTS
from psp_core.identity import DEFAULTS
from psp_core.parts import every_setting
from psp_core.retrieval import RetrievalConfig
from psp_core.trial import Trial
from study.plan import SCHEMA_VERSION
from study.schema import MEASURED, TRIALS
from study.store import TrialStore
from tests.study.test_trial_ids import REFERENCE

STORES = sorted(path.name for path in REFERENCE.iterdir())


def test_the_version_that_ids_are_made_of_is_the_first() -> None:
    assert SCHEMA_VERSION == 1


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_every_setting_of_every_part_has_a_column_that_holds_its_default(kind: str) -> None:
    for part, one in every_setting(EXPERIMENTS[kind]):
        column = TRIALS.field(one.column)
        assert column.metadata[b"text"], f"{part.__name__}.{one.name} has no text"
        if one.default is dataclasses.MISSING or one.default is None:
            continue
        default = list(one.default) if isinstance(one.default, tuple) else one.default
        assert pa.array([default], column.type).to_pylist() == [default]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("context", pa.string()),  # a part
        ("heads", pa.string()),  # a choice
        ("width", pa.int32()),
        ("eval_samples", pa.int32()),  # or none
        ("later_lr", pa.float64()),  # or none
        ("sparsity", pa.float64()),  # without a default
        ("learned_contexts", pa.bool_()),
        ("milestones", pa.list_(pa.int32())),
        ("seed", pa.int64()),  # as in the first stores
        ("alignment", pa.float64()),  # of retrieval
        *((column, pa.string()) for column in ("curve", "curve_of", "experiment")),
    ],
)
def test_a_column_has_the_type_of_its_setting(column: str, kind: pa.DataType) -> None:
    assert TRIALS.field(column).type == kind


def test_a_column_says_what_the_setting_is_and_training_speaks_for_both_kinds() -> None:
    for root, names in ((Trial, ("num_tasks", "seed", "lr", "context")), (RetrievalConfig, ("support",))):
        for name in names:
            assert TRIALS.field(name).metadata[b"text"].decode() == root.settings_named(name)[0][1].text


def test_no_column_stands_twice_and_the_first_ones_keep_their_order() -> None:
    assert len(set(TRIALS.names)) == len(TRIALS.names)
    assert TRIALS.names[: 4 + len(DEFAULTS)] == ["trial_id", "study", "status", "error", *DEFAULTS]


def test_texts_stand_in_the_files(small_store: Path) -> None:
    for folder, schema in (("trials", TRIALS), ("evals", MEASURED["evals"])):
        for path in (small_store / folder).iterdir():
            assert pq.read_schema(path).equals(schema, check_metadata=False)
            texts = {field.name: (field.metadata or {}).get(b"text") for field in pq.read_schema(path)}
            assert texts == {field.name: field.metadata[b"text"] for field in schema}


@pytest.mark.parametrize("store", STORES)
def test_what_older_files_have_is_of_the_same_type_today(store: str) -> None:
    for folder, schema in (("trials", TRIALS), *MEASURED.items()):
        for path in (REFERENCE / store / folder).glob("*.parquet"):
            for field in pq.read_schema(path):
                assert schema.field(field.name).type == field.type


def rows_of(folder: Path) -> pa.Table:
    """All rows of a folder, whose files are of several versions."""
    return pa.concat_tables([pq.read_table(path) for path in folder.glob("*.parquet")], promote_options="default")


def split(out: Path) -> int:
    """Give every second trial of a file a file of its own; how many files of trials there are then."""
    for path in list((out / "trials").glob("*.parquet")):
        ids = pq.read_table(path)["trial_id"][::2].combine_chunks()
        for file in [out / folder / path.name for folder in ("trials", *MEASURED)]:
            if file.exists():
                table = pq.read_table(file)
                chosen = pc.is_in(table["trial_id"], ids)
                for name, some in (("one", chosen), ("other", pc.invert(chosen))):
                    pq.write_table(table.filter(some), file.with_name(f"{name}-{file.name}"))
                file.unlink()
    return len(list((out / "trials").iterdir()))


@pytest.mark.parametrize("store", STORES)
def test_older_stores_are_read_and_compacted_to_the_bit(store: str, tmp_path: Path) -> None:
    """What older files do not have is null then."""
    before = {folder: rows_of(REFERENCE / store / folder) for folder in ("trials", "evals")}
    finished, damaged = TrialStore(str(REFERENCE / store)).finished()
    assert not damaged
    assert {name: entry.status for name, entry in finished.items()} == dict(
        zip(before["trials"]["trial_id"].to_pylist(), before["trials"]["status"].to_pylist(), strict=True)
    )
    shutil.copytree(REFERENCE / store, tmp_path / "out")
    num_files, copy = split(tmp_path / "out"), TrialStore(str(tmp_path / "out"))
    assert num_files >= 2
    assert copy.compact() == (num_files, 1)
    assert copy.finished() == (finished, [])
    for folder, keys in (("trials", ["trial_id"]), ("evals", ["trial_id", "tasks_seen", "task"])):
        after = rows_of(tmp_path / "out" / folder)
        order = [(key, "ascending") for key in keys]
        assert after.select(before[folder].column_names).sort_by(order).equals(before[folder].sort_by(order))
        for column in set(after.column_names) - set(before[folder].column_names):
            assert after[column].null_count == len(after)
