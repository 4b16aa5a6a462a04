"""Shorter and longer trials: what a stored one answers, and what goes on from where it ended, to the bit."""

import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from analysis.store import read_store
from analysis.tables import mean_accuracy
from psp_core.contexts import CONTEXTS
from psp_core.datasets import load_dataset
from psp_core.schedules import SCHEDULES
from psp_core.training import PackTraining
from psp_core.trial import Trial, TrialConfig, replace
from study.explain import explained
from study.nested import compared, not_among
from study.plan import Pack, merge, trial_id, without
from study.run import forget_beginnings
from study.spec import StudySpec
from study.standing import Standing, standing, whole_standing
from study.store import TrialStore
from study.worker import Job, PackRun
from study.workers import Workers
from tests.conftest import small_study

ONE_CORE = Workers(device="cpu", count=1, memory=2**33, cores=1)
TINY = {"dataset": "digits", "width": 8, "steps_per_task": 6, "batch_size": 8, "lr": 0.01}
SPLIT = {"stream": "split", "classes_per_task": 2}
KINDS: dict[str, dict[str, object]] = {
    **{f"context {name}": {"context": name} for name in CONTEXTS},
    **{
        f"schedule {name}": {"context": "complex", "schedule": name}
        for name, schedule in SCHEDULES.items()
        if schedule.is_nested
    },
    "split": SPLIT,
    "split, shuffled, labels kept": SPLIT | {"shuffle_classes": True, "keep_labels": True},
    "turned": {"stream": "turned"},
    "several contexts": {"context": "complex", "contexts_per_task": 3},
    "adam": {"optimiser": "adam", "weight_decay": 0.01},
    "heads": {"heads": "per-task", "context": "none"},
    "first task's trunk": {"heads": "per-task", "context": "none", "trunk": "first-task"},
    "net per task": {"context": "none", "trunk": "per-task"},
    "learned contexts": {"learned_contexts": True, "output_contexts": True},
    "norms": {"model": "small-conv", "depth": 1, "norm": "per-task"},
    "inferred from contexts": {"context": "rotation", "task_inference": "entropy-one-shot"},
    "supsup": {"method": "supsup", "context": "none"},
    "supsup, transferred": {"method": "supsup", "context": "none", "transfer": "running-mean"},
    "supsup, inferred": {
        "method": "supsup",
        "context": "none",
        "superfluous": 10,
        "task_inference": "superfluous-one-shot",
    },
    "hopsupsup": {"method": "hopsupsup", "context": "none"} | SPLIT,
    "curves": {"eval_every": 3},
    "some samples": {"eval_tasks": "ends", "eval_samples": 50, "milestones": (2,)},
}


def members(settings: dict[str, object], num_tasks: int) -> list[Trial]:
    """A pack whose members differ in all that they may."""
    config = TrialConfig(**{**TINY, **settings}, num_tasks=num_tasks)
    other = {} if config.optimiser.name == "adam" else {"momentum": 0.5}
    return [config, replace(config, seed=1, lr=0.02), replace(config, seed=1, **other)]


def trained(configs: Sequence[Trial], states: Sequence[dict[str, object]] = ()) -> PackTraining:
    pack = PackTraining(configs, load_dataset("digits"), torch.device("cpu"))
    if states:
        pack.load_member_states(states)
    while not pack.done:
        pack.train_task()
    return pack


def saved(state: dict[str, object]) -> dict[str, object]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def alike(mine: object, theirs: object) -> bool:
    """Whether two states hold the same numbers."""
    if isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(alike(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, list):
        return len(mine) == len(theirs) and all(map(alike, mine, theirs))
    return torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else mine == theirs


@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_trial_passes_through_a_shorter_one_and_goes_on_from_it_to_the_bit(kind: str) -> None:
    settings = KINDS[kind]
    assert members(settings, 4)[0].is_nested
    shorter_settings = {key: value for key, value in settings.items() if key != "milestones"}
    shorter, whole = trained(members(shorter_settings, 2)), trained(members(settings, 4))
    states = [saved(shorter.member_state(e)) for e in range(3)]
    longer = trained(members(settings, 4), states)
    assert {"accuracy", "loss", "num_samples", *whole.config.method.measured} <= whole.measured.keys()
    for name in whole.measured:
        mine, through, at_once = (pack.measured[name] for pack in (shorter, longer, whole))
        assert torch.equal(mine.nan_to_num(-1), at_once[:, :2, :2].nan_to_num(-1))
        assert torch.equal(through.nan_to_num(-1), at_once.nan_to_num(-1))
    for e in range(3):
        assert str(longer.curves[e]) == str(whole.curves[e])  # nan is not nan
        assert alike(longer.learner.member_state(e), whole.learner.member_state(e))


@pytest.mark.parametrize(
    "settings",
    [
        {"stream": "rotating"},
        {"num_cycles": 2},
        {"schedule": "local-mix", "context": "complex"},
        {
            "method": "supsup",
            "context": "none",
            "new_mask_eps": 0.1,
            "steps_per_decision": 3,
            "shared_labels": True,
            "task_inference": "entropy-one-shot",
        },
    ],
)
def test_what_depends_on_the_number_of_tasks_is_no_beginning(settings: dict[str, object]) -> None:
    trials = [TrialConfig(**{**TINY, **settings}, num_tasks=number) for number in (2, 4)]
    assert not trials[0].is_nested
    assert merge(trials) == trials
    assert not_among(trials[:1], trials[1:]) == trials[:1]


def test_members_of_several_packs_go_on_together() -> None:
    one, two, three = members({"heads": "per-task", "context": "none", "optimiser": "adam"}, 2)
    first, second = trained([one]), trained([two, three])
    together = PackTraining(
        [replace(three, num_tasks=4), replace(one, num_tasks=4)], load_dataset("digits"), torch.device("cpu")
    )
    together.load_member_states([second.member_state(1), first.member_state(0)])
    for e, (pack, member) in enumerate([(second, 1), (first, 0)]):
        assert torch.equal(together.learner.groups[0].values_EP[e], pack.learner.groups[0].values_EP[member])
        for mine, theirs in zip(together.optimisers[0].state, pack.optimisers[0].state, strict=True):
            assert torch.equal(mine[e], theirs[member])
        for name in ("accuracy", "loss"):
            mine, theirs = together.measured[name], pack.measured[name]
            assert torch.equal(mine[e, :2, :2].nan_to_num(-1), theirs[member].nan_to_num(-1))
    assert together.tasks_seen == 2
    far = trained([replace(one, num_tasks=3)])
    with pytest.raises(ValueError, match="must have seen as many tasks each"):
        together.load_member_states([second.member_state(1), far.member_state(0)])


def study_of(*num_tasks: int, **settings: object) -> StudySpec:
    spec = small_study(
        axes={"context": ["none", "binary"], "num_tasks": list(num_tasks)}, settings={**TINY, **settings}
    )
    return StudySpec.from_mapping({**spec.to_mapping(), "seeds": [0, 1]})


def run(spec: StudySpec, out: Path, *, keep_state: bool = False) -> tuple[Standing, list[Pack]]:
    """Train what is left to do, as `run_study` does but for Ray; what was planned, and the packs that were left."""
    store = TrialStore(str(out))
    store.claim(spec, {})
    now = standing(spec, store)
    packs = without(now.packs(ONE_CORE, None), now.done())
    for pack in packs:
        run = PackRun(Job(study=spec.name, pack=pack, store=store.uri, keep_state=keep_state), load_dataset("digits"))
        while not run.step()["done"]:
            pass
    return now, packs


def evals(out: Path, num_tasks: int) -> list[dict[str, object]]:
    """The measurements of the stored trials of so many tasks, those of equal trials in the same order."""
    rows = pq.read_table(out / "trials").to_pylist()
    places = {row["trial_id"]: (row["context"], row["seed"]) for row in rows if row["num_tasks"] == num_tasks}
    found = [
        {**row, "trial_id": places[row["trial_id"]]}
        for row in pq.read_table(out / "evals").to_pylist()
        if row["trial_id"] in places
    ]
    return sorted(found, key=lambda row: (row["trial_id"], row["tasks_seen"], row["task"]))


SOME = {"eval_tasks": "ends", "eval_samples": 50}


@pytest.mark.parametrize("settings", [{}, SOME])
def test_kept_trials_are_gone_on_with_and_end_as_if_trained_at_once(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    run(study_of(2, 3, **settings), tmp_path / "grown", keep_state=True)
    _, packs = run(study_of(2, 3, 5, **settings), tmp_path / "grown", keep_state=True)
    assert [pack.tasks_before for pack in packs] == [3] * len(packs)
    assert sum(pack.num_steps * len(pack.trials) for pack in packs) == 4 * 2 * TINY["steps_per_task"]
    run(study_of(2, 3, 5, **settings), tmp_path / "whole")
    assert evals(tmp_path / "grown", 5) == evals(tmp_path / "whole", 5)
    store = TrialStore(str(tmp_path / "grown"))
    after = standing(study_of(2, 3, 5, **settings), store)
    assert after.count("ok") == 4
    assert not without(after.packs(ONE_CORE, None), after.done())
    assert len(store.kept()) == 8
    forget_beginnings(packs, after, store)
    assert store.kept() == {trial_id(trial) for trial in after.trained}


def test_where_a_beginning_ended_becomes_a_milestone(tmp_path: Path) -> None:
    run(study_of(2, **SOME), tmp_path, keep_state=True)
    _, packs = run(study_of(4, **SOME), tmp_path)
    assert {trial.milestones for pack in packs for trial in pack.trials} == {(2,)}
    assert standing(study_of(4, **SOME), TrialStore(str(tmp_path))).count("ok") == 4
    assert standing(study_of(2, 4, **SOME), TrialStore(str(tmp_path))).count("ok") == 4
    assert len([row for row in evals(tmp_path, 4) if row["tasks_seen"] == 2]) == 4 * 2


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_state_that_cannot_be_read_costs_time_alone(tmp_path: Path, damage: bytes | None) -> None:
    run(study_of(2), tmp_path / "grown", keep_state=True)
    for path in (tmp_path / "grown" / "states").iterdir():
        path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    run(study_of(4), tmp_path / "grown")
    run(study_of(4), tmp_path / "whole")
    assert evals(tmp_path / "grown", 4) == evals(tmp_path / "whole", 4)


def test_an_interrupted_pack_that_goes_on_goes_on_again(tmp_path: Path) -> None:
    run(study_of(2), tmp_path / "grown", keep_state=True)
    store = TrialStore(str(tmp_path / "grown"))
    for pack in standing(study_of(5), store).packs(ONE_CORE, None):
        interrupted = PackRun(
            Job(study="small", pack=pack, store=store.uri, checkpoint_seconds=0), load_dataset("digits")
        )
        assert 0 < interrupted.step()["fraction"] < 0.5  # one task of three
    run(study_of(5), tmp_path / "grown")
    run(study_of(5), tmp_path / "whole")
    assert evals(tmp_path / "grown", 5) == evals(tmp_path / "whole", 5)


def test_a_state_is_no_larger_than_its_member(tmp_path: Path) -> None:
    """Weights and the mean square of each; and five measurements of 8 bytes for each task at each boundary."""
    run(study_of(2), tmp_path, keep_state=True)
    numbers = 64 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10
    for path in (tmp_path / "states").iterdir():
        assert 8 * numbers < path.stat().st_size < 8 * (numbers + 6 * 32) + 5 * 8 * 4 + 8000


def lines(spec: StudySpec, out: Path) -> list[str]:
    return [line.strip() for line in explained(standing(spec, TrialStore(str(out))))]


def test_a_plan_says_what_is_merged_stored_and_why_the_rest_is_not(tmp_path: Path) -> None:
    run(study_of(2, 3), tmp_path)
    assert lines(study_of(2, 3), tmp_path) == [
        "trials   4 planned, 0 to do",
        "merged   8 combinations in 4 trials: more tasks pass through fewer",
    ]
    assert lines(study_of(2), tmp_path) == [
        "trials   4 planned, 0 to do",
        "stored   2 tasks: 4 trials done, by trials of 3 that passed through them",
    ]
    assert lines(study_of(3, 5), tmp_path)[2:] == [
        "again    5 tasks: 4 trials from the start, for the state of those of 3 was not kept: run with --keep-state to "
        "have it kept"
    ]


def test_a_plan_says_which_trials_go_on(tmp_path: Path) -> None:
    run(study_of(3), tmp_path, keep_state=True)
    assert lines(study_of(5), tmp_path) == [
        "trials   4 planned, 4 to do",
        "go on    5 tasks: 4 trials from task 3, where a stored one ended",
    ]


def test_a_longer_trial_that_did_not_measure_enough_is_no_answer(tmp_path: Path) -> None:
    run(study_of(4, **SOME), tmp_path)
    assert lines(study_of(3, **SOME), tmp_path) == [
        "trials   4 planned, 4 to do",
        "again    3 tasks: 4 trials from the start, for those of 4 did not measure every task on the whole test set "
        "after 3: see eval_tasks and eval_samples",
    ]


def test_only_a_whole_result_is_an_answer() -> None:
    """A longer trial that diverged may have done so after the shorter one's end; one that failed says nothing."""
    from psp_core.experiment import Length
    from study.nested import Finished

    shorter, longer = (TrialConfig(**TINY, num_tasks=number) for number in (2, 4))
    for status in ("diverged", "failed"):
        stored = {trial_id(longer): Finished(status, "why", Length(4))}
        (planned,) = compared([shorter], stored, ())
        assert planned.status is None
    (planned,) = compared([longer], {trial_id(shorter): Finished("failed", "why", Length(2))}, {trial_id(shorter)})
    assert planned.start is None


def test_figures_show_the_shorter_curve_from_the_longer_trial(tmp_path: Path) -> None:
    run(study_of(2), tmp_path, keep_state=True)
    run(study_of(4), tmp_path)
    curve = mean_accuracy(read_store(str(tmp_path)).evals)
    assert sorted(set(curve["tasks_seen"])) == [1, 2, 3, 4]
    assert len(curve) == 4 * 4  # of each trial one curve: the beginning is not drawn beside


def test_a_part_that_was_run_is_a_part_of_the_whole_study(tmp_path: Path) -> None:
    whole = small_study(axes={"context": ["none", "binary"]}, settings=TINY | {"num_tasks": 2})
    run(whole.with_values(["context=none"]), tmp_path)
    store = TrialStore(str(tmp_path))
    assert store.read_study() == whole
    now = whole_standing(whole, store)
    assert (len(now.planned), now.count("ok"), now.count(None)) == (4, 2, 2)
    run(whole, tmp_path)
    assert whole_standing(whole, store).count("ok") == 4


def test_values_beside_the_study_are_planned_too_once_they_were_run(tmp_path: Path) -> None:
    whole = small_study(axes={"context": ["none", "binary"]}, settings=TINY | {"num_tasks": 2})
    run(whole.with_values(["width=4", "seed=7"]), tmp_path)
    run(whole.with_values(["num_tasks=1"]), tmp_path)  # of which nothing is new to the study
    now = whole_standing(whole, TrialStore(str(tmp_path)))
    assert (len(now.planned), now.count("ok"), now.count(None)) == (4 + 2, 2, 4)


def test_each_run_is_remembered_once_with_what_ran_it(tmp_path: Path) -> None:
    whole, store = small_study(), TrialStore(str(tmp_path))
    for spec, version in [(whole, "1"), (whole.with_values(["width=4"]), "1"), (whole, "1"), (whole, "2")]:
        store.claim(spec, {"psp": version})
    import yaml

    ran_with = yaml.safe_load((tmp_path / "study.yaml").read_text())["ran_with"]
    assert ran_with == {
        "psp": "2",
        "runs": [{"set": ["width=4"], "psp": "1"}, {"set": [], "psp": "1"}, {"set": [], "psp": "2"}],
    }
    smaller = small_study(axes={"context": ["none"]}, settings=whole.settings | {"depth": 1})
    store.claim(smaller, {"psp": "2"})  # its file was changed: what was set of it before may mean nothing now
    assert store.read_study() == smaller
    assert [part.settings["width"] for part in store.read_parts(smaller)] == [4]
