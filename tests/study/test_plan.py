import dataclasses
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp_core.measuring import tasks_to_measure
from psp_core.retrieval import RetrievalConfig
from psp_core.trial import Trial, TrialConfig, replace
from study.plan import (
    FIRST_RESULT,
    LATER,
    MAX_MEMBERS,
    START_SECONDS,
    Pack,
    Start,
    duration,
    ends,
    make_packs,
    merge,
    trial_id,
    without,
)
from study.workers import Workers

trials = st.builds(
    TrialConfig,
    dataset=st.just("digits"),
    context=st.sampled_from(["none", "binary", "rotation"]),
    width=st.sampled_from([4, 64, 512]),
    num_tasks=st.integers(1, 6),
    lr=st.sampled_from([0.1, 0.01]),
    seed=st.integers(0, 3),
    eval_tasks=st.sampled_from(["all", "ends"]),
    eval_samples=st.sampled_from([None, 10]),
)
studies = st.lists(trials, min_size=1, max_size=30)
TWO_CORES = Workers(device="cpu", count=2, memory=12 * 2**30, cores=2)
EIGHT_GPUS = Workers(device="cuda", count=8, memory=80 * 2**30, cores=64)


@given(studies)
def test_ids_are_equal_for_equal_trials_only(study: list[Trial]) -> None:
    assert len({trial_id(trial) for trial in study}) == len(set(study))


def test_ids_are_the_same_in_every_process_and_version() -> None:
    """Pinned: a change here orphans every stored trial; raise SCHEMA_VERSION if it is meant."""
    assert trial_id(TrialConfig()) == "ee2b6419cb00926b"
    assert trial_id(TrialConfig(dataset="digits", lr=0.01, seed=3)) == "80d913474926744a"
    code = "from study.plan import trial_id; from psp_core.trial import TrialConfig; print(trial_id(TrialConfig()))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == trial_id(TrialConfig())


@given(studies)
def test_merging_keeps_all_that_was_to_be_measured(study: list[Trial]) -> None:
    """Each trial has exactly one heir, which trains as far and measures at least the same."""
    merged = merge(study)
    assert len(set(merged)) == len(merged)
    for trial in study:
        heirs = [
            heir
            for heir in merged
            if replace(heir, num_tasks=1, milestones=()) == replace(trial, num_tasks=1, milestones=())
        ]
        assert len(heirs) == 1
        (heir,) = heirs
        assert heir.num_tasks >= trial.num_tasks
        for seen in range(1, trial.num_tasks + 1):
            assert set(tasks_to_measure(trial, seen)) <= set(tasks_to_measure(heir, seen))
            if trial.eval_samples is not None:
                assert heir.measures_all(seen) >= trial.measures_all(seen)
    assert merge(merged) == merged


@given(studies, st.randoms())
def test_the_plan_does_not_depend_on_the_order(study: list[Trial], shuffler: random.Random) -> None:
    shuffled = list(study)
    shuffler.shuffle(shuffled)
    assert {trial_id(trial) for trial in merge(study)} == {trial_id(trial) for trial in merge(shuffled)}


@given(studies, st.integers(0, 2**30), st.sampled_from([TWO_CORES, EIGHT_GPUS]), st.sampled_from([None, 1, 3]))
def test_packs_hold_every_trial_left_once_and_one_shape_each(
    study: list[Trial], chosen: int, workers: Workers, max_members: int | None
) -> None:
    merged = merge(study)
    done = {trial_id(trial) for i, trial in enumerate(merged) if chosen >> i & 1}
    packs = without(make_packs(merged, workers, max_members), done)
    packed = [trial for pack in packs for trial in pack.trials]
    assert sorted(map(trial_id, packed)) == sorted({trial_id(trial) for trial in merged} - done)
    for pack in packs:
        assert len({trial.shape for trial in pack.trials}) == 1
        assert len(pack.trials) <= (max_members or MAX_MEMBERS[workers.device])
    assert len({pack.id for pack in packs}) == len(packs)


@given(studies, st.sampled_from([TWO_CORES, EIGHT_GPUS]))
def test_of_several_workers_one_begins_with_the_shortest_pack_and_all_others_with_the_longest(
    study: list[Trial], workers: Workers
) -> None:
    """Or all with the longest, where the study would end later otherwise."""
    packs = make_packs(merge(study), workers)
    seconds = [pack.seconds(workers) for pack in packs]
    assert seconds[1:] == sorted(seconds[1:], reverse=True)
    assert seconds[0] in (min(seconds), max(seconds))
    longest_first = sorted(packs, key=lambda pack: -pack.seconds(workers))
    assert duration(packs, workers) <= LATER * duration(longest_first, workers)


@given(studies)
def test_one_worker_takes_the_shortest_packs_first(study: list[Trial]) -> None:
    one = dataclasses.replace(EIGHT_GPUS, count=1)
    seconds = [pack.seconds(one) for pack in make_packs(merge(study), one)]
    assert seconds == sorted(seconds)


def test_of_packs_of_many_minutes_one_is_cut_so_that_some_trials_are_done_early() -> None:
    """A first result is there within two minutes, and the study ends no later than a few percent."""
    one = dataclasses.replace(TWO_CORES, count=1)
    trials = seeds(160, width=16, num_tasks=100, steps_per_task=2500)
    assert Pack(tuple(trials[:16])).seconds(TWO_CORES) > FIRST_RESULT
    packs = make_packs(trials, one)
    assert ends(packs, one)[0] < FIRST_RESULT
    assert sorted(len(pack.trials) for pack in packs) == [8, 8, *[16] * 9]
    slow = [replace(trial, steps_per_task=20_000) for trial in trials]  # not one of them is trained in that time
    assert {len(pack.trials) for pack in make_packs(slow, one)} == {16}
    few = make_packs(trials[:16], one)  # to begin twice would cost a tenth of it
    assert [len(pack.trials) for pack in few] == [16]


def test_on_one_gpu_a_grid_of_wide_and_narrow_networks_has_results_within_a_minute() -> None:
    """Five widths, five contexts, three learning rates, three seeds on 50 tasks: by the plan, by the H200's rates."""
    study = [
        TrialConfig(width=width, context=context, lr=lr, seed=seed, eval_samples=1000)
        for width in (128, 256, 512, 1024, 2048)
        for context in ("none", "binary", "complex", "one-power", "rotation")
        for lr in (3e-5, 1e-4, 3e-4)
        for seed in range(3)
    ]
    one = Workers(device="cuda", count=1, memory=139 * 2**30, cores=16)
    packs = make_packs(study, one)
    assert START_SECONDS + ends(packs, one)[0] < 60
    assert ends(packs, one)[0] == min(ends(packs, one))
    assert sum(len(pack.trials) for pack in packs) == 225


@given(studies)
def test_a_continued_run_trains_the_same_packs(study: list[Trial]) -> None:
    packs = make_packs(merge(study))
    for stored in packs:
        left = without(packs, {trial_id(trial) for trial in stored.trials})
        assert left == [pack for pack in packs if pack != stored]


def seeds(number: int, **settings: object) -> list[Trial]:
    return [TrialConfig(dataset="digits", seed=seed, **settings) for seed in range(number)]


@given(st.integers(1, 60), st.integers(1, 9), st.sampled_from([16, 64, 256]))
def test_workers_are_busy_to_the_end(number: int, count: int, width: int) -> None:
    """No better than even, and no more than one trial of one worker, or a few starts, worse."""
    workers = dataclasses.replace(TWO_CORES, count=count)
    packs = make_packs(seeds(number, width=width, num_tasks=2), workers)
    alone = Pack(packs[0].trials[:1]).seconds(TWO_CORES)
    assert duration(packs, workers) <= 1.1 * (number * alone / count + alone)


def test_a_gpus_memory_bounds_a_pack() -> None:
    trials = seeds(64, width=2048, context="rotation")
    roomy, small = (dataclasses.replace(EIGHT_GPUS, count=1, memory=gib * 2**30) for gib in (1000, 24))
    assert max(len(pack.trials) for pack in make_packs(trials, roomy)) > 32
    packs = make_packs(trials, small)
    assert 1 < len(packs[0].trials) < 16
    assert all(pack.bytes("cuda") < small.memory for pack in packs)


def test_contexts_that_bind_by_one_operation_share_packs() -> None:
    """Their memory and time are those of all members; trials of one seed lie beside each other."""
    names = {"none": "product", "binary": "product", "complex": "complex", "one-power": "complex", "rotation": "matrix"}
    study = [TrialConfig(context=name, seed=seed) for name in names for seed in range(3)]
    packs = make_packs(study, dataclasses.replace(EIGHT_GPUS, count=1))
    bound = [{names[trial.context] for trial in pack.trials} for pack in packs]
    assert sorted(map(sorted, bound)) == [["complex"], ["matrix"], ["product"]]
    for pack in packs:
        assert [trial.seed for trial in pack.trials] == sorted(trial.seed for trial in pack.trials)
        of_each = sum(trial.member_bytes for trial in pack.trials)
        assert pack.bytes("cuda") == of_each + pack.trials[0].shared_bytes("cuda")
    small, large = (Pack((study[0], trial)) for trial in (study[0], study[3]))
    assert small.bytes("cuda") < large.bytes("cuda")
    assert small.member_bytes < large.member_bytes == study[3].member_bytes


def test_trials_of_several_lengths_share_packs_of_a_gpu_and_lie_beside_their_like() -> None:
    study = [TrialConfig(stream="rotating", num_tasks=number, seed=seed) for seed in range(3) for number in (20, 10)]
    one_gpu = dataclasses.replace(EIGHT_GPUS, count=1)
    (pack,) = make_packs(study, one_gpu)
    assert [(trial.num_tasks, trial.seed) for trial in pack.trials] == [
        (k, seed) for k in (10, 20) for seed in range(3)
    ]
    alone = [Pack((trial,)) for trial in study]
    assert pack.num_visits == 20
    assert pack.num_steps == 20 * study[0].steps_per_task
    seconds = [one.seconds(one_gpu) for one in alone]
    assert max(seconds) < pack.seconds(one_gpu) < sum(seconds)
    on_cores = make_packs(study, TWO_CORES)
    assert all(len({trial.num_tasks for trial in pack.trials}) == 1 for pack in on_cores)
    (again, once) = (replace(study[0], num_cycles=2, num_tasks=number) for number in (10, 20))
    assert len(make_packs([again, once], dataclasses.replace(EIGHT_GPUS, count=1))) == 2


def test_measurements_of_crosstalk_are_made_alone() -> None:
    study = [RetrievalConfig(context=name, width=64, num_tasks=8) for name in ("none", "binary", "gaussian")]
    assert [len(pack.trials) for pack in make_packs(study, EIGHT_GPUS)] == [1, 1, 1]


def test_no_network_is_too_large_to_be_planned() -> None:
    tiny = dataclasses.replace(EIGHT_GPUS, memory=2**20)
    assert [len(pack.trials) for pack in make_packs(seeds(2, width=2048), tiny)] == [1, 1]


def test_fewer_packs_than_cores_get_more_threads_each() -> None:
    sixteen = dataclasses.replace(TWO_CORES, count=32, cores=16)
    assert [sixteen.threads(num_packs) for num_packs in (1, 2, 10, 32, 100)] == [16, 16, 3, 1, 1]
    assert EIGHT_GPUS.threads(1) == 1


def test_small_networks_share_packs_and_wide_ones_train_alone() -> None:
    small = [TrialConfig(dataset="digits", width=16, seed=seed) for seed in range(32)]
    assert [len(pack.trials) for pack in make_packs(small, TWO_CORES)] == [16, 16]
    wide = [replace(trial, width=1024) for trial in small[:3]]
    assert [len(pack.trials) for pack in make_packs(wide, TWO_CORES)] == [1, 1, 1]


def test_an_estimate_counts_the_contexts_that_are_drawn_and_retrieved() -> None:
    """Seventy rotations of 784 inputs take longer than 700 steps of a narrow network; members of a seed share them."""
    narrow = TrialConfig(width=16, num_tasks=70, steps_per_task=10, eval_samples=100)
    binary, rotation = ([replace(narrow, context=name, lr=lr) for lr in (0.1, 0.01)] for name in ("binary", "rotation"))
    alone, beside = (Pack((rotation[0],)).seconds(TWO_CORES), Pack((binary[0],)).seconds(TWO_CORES))
    assert alone > 5 * beside
    shared, apart = Pack(tuple(rotation)), Pack((rotation[0], replace(rotation[1], seed=1)))
    assert shared.seconds(TWO_CORES) < apart.seconds(TWO_CORES)


def test_what_a_pack_has_behind_it_is_not_estimated_again() -> None:
    trial = TrialConfig(dataset="digits", num_tasks=12, eval_samples=50)
    whole, rest = Pack((trial,)), Pack((trial,), (Start("x", 10),))
    first = Pack((replace(trial, num_tasks=10),))
    assert rest.num_steps == 2 * trial.steps_per_task
    assert whole.seconds(TWO_CORES) == pytest.approx(first.seconds(TWO_CORES) + rest.seconds(TWO_CORES))
