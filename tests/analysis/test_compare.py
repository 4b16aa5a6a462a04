from pathlib import Path

import pytest

from analysis.compare import compare_store, published
from analysis.store import StoreError
from study.store import TrialStore


def test_published_values_are_fractions_with_a_source() -> None:
    values = published()
    assert values["value"].between(0, 1).all()
    assert values["source"].notna().all()
    assert not values.duplicated(["source", "width", "context", "tasks_seen"]).any()
    end = values.query("source == 'PSP Fig. 3 left' and tasks_seen == 50").set_index("context")["value"]
    assert end.to_dict() == {"rotation": 0.94, "one-power": 0.862, "complex": 0.79, "binary": 0.689, "none": 0.1}


def paper_trial(seed: int, **changes: object) -> dict[str, object]:
    return {
        "trial_id": f"t{seed}", "status": "ok", "context": "binary", "stream": "permuting", "dataset": "mnist",
        "width": 512, "depth": 2, "num_tasks": 5, "lr": 1e-4, "seed": seed, "steps_per_task": 1000, "batch_size": 128,
        "optimiser": "rmsprop", "momentum": 0.0, "permute_first": False, **changes,
    }  # fmt: skip


def store(out: Path, **changes: object) -> str:
    evals = [
        {"trial_id": f"t{seed}", "tasks_seen": seen, "task": 0, "accuracy": accuracy, "loss": 0.1, "num_samples": 1}
        for seed, accuracy in enumerate([0.95, 0.97])
        for seen in range(1, 6)
    ]
    TrialStore(str(out)).write_pack("p", [paper_trial(seed, **changes) for seed in range(2)], evals)
    return str(out)


def test_ours_stand_below_the_papers_with_the_difference(tmp_path: Path) -> None:
    lines = compare_store(store(tmp_path)).splitlines()
    assert lines[0] == "### PSP Fig. 2: accuracy of task 0 (%) after training so many tasks"
    assert lines[-3] == "| 512 | binary | paper | 96.6 | 96.5 | 95.2 | 90.7 | 85.8 | 79.8 | 80.6 |"
    assert lines[-2] == "| 512 | binary | ours | 96.0 ± 12.7 | 96.0 ± 12.7 | - | - | - | - | - |"
    assert lines[-1] == "| 512 | binary | difference | -0.6 | -0.5 | - | - | - | - | - |"


def test_fixed_and_trained_contexts_have_tables_of_their_own(tmp_path: Path) -> None:
    store(tmp_path)
    trained = paper_trial(0, learned_contexts=True, trial_id="trained")
    row = {"trial_id": "trained", "tasks_seen": 1, "task": 0, "accuracy": 0.5, "loss": 0.1, "num_samples": 1}
    TrialStore(str(tmp_path)).write_pack("q", [trained], [row])
    fixed, trained_table = compare_store(str(tmp_path)).split("\n\n###")
    assert "| 512 | binary | ours | 96.0 ± 12.7 |" in fixed
    assert "contexts trained during their task" not in fixed
    assert "ours: 1 seed, contexts trained during their task." in trained_table
    assert "| 512 | binary | ours | 50.0 | - |" in trained_table


def test_a_store_without_a_finished_trial_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no trial with settings"):
        compare_store(store(tmp_path, status="failed"))


def test_trials_with_other_settings_do_not_count(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no trial with settings"):
        compare_store(store(tmp_path, batch_size=64))
