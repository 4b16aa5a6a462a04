"""Runs a study: trains the planned trials that the store does not have, and prints a summary."""

import contextlib
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psp_core.datasets import Dataset, load_dataset, where_is
from psp_core.messages import plural
from study.choice import chosen
from study.explain import chosen_lines, same_tasks
from study.heartbeat import Heartbeat
from study.lease import Lease
from study.nested import MEASURED
from study.plan import Pack, trial_id, without
from study.progress import Display, Tally
from study.provenance import provenance
from study.screen import Screen, clock
from study.spec import StudyError, StudySpec
from study.standing import RECORD, Standing, Stored, by_stage, record, standing, together
from study.stop import Stop
from study.store import TrialStore
from study.tuning import Found
from study.unfinished import Unfinished, half_way
from study.worker import Job
from study.workers import Limits, Workers, this_machine

if TYPE_CHECKING:
    from study.tune import Engine


MANY_FILES: Final = 1000  # a store with more files is compacted when a run ends


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a study is run; no option changes a result.

    Attributes:
        data: the data sets' folder on this machine; workers get the data through Ray.
        address: a running Ray cluster, or None for this machine only.
        max_members: a bound on the size of packs, beside the device's own.
        packs_per_gpu: how many packs share a GPU; None for the planner's choice.
        gpus: how many GPUs to plan for, and to ask an autoscaler for; 0 for CPU cores only, None for all GPUs that
            are there, or the CPU cores where the study ends sooner on them.
        max_concurrent: a bound on the number of packs that train at the same time.
        time_limit: seconds that a pack may train before its trials fail.
        checkpoint_seconds: seconds that a pack trains between two checkpoints, at least.
        keep_state: whether each trial's last state is kept, so that a trial of more tasks can go on from there, and
            its network can be loaded; whatever it says where the study says `keep_models`.
        retry_failed: whether only trials that failed are trained; else these are trained again with all others.
    """

    data: Path | None = None
    address: str | None = None
    max_members: int | None = None
    packs_per_gpu: int | None = None
    gpus: int | None = None
    max_concurrent: int | None = None
    time_limit: float | None = None
    checkpoint_seconds: float = Job.checkpoint_seconds
    keep_state: bool = False
    retry_failed: bool = False


def run_study(spec: StudySpec, store: TrialStore, screen: Screen, options: RunOptions, stop: Stop | None = None) -> int:
    """Train what is planned and not yet in the store.

    Args:
        spec: the study.
        store: where results go.
        screen: where progress is printed.
        options: how the study is run.
        stop: says when to end before everything is trained.

    Returns:
        The number of planned trials without a result; of those that failed, where only these are trained.

    Raises:
        StudyError: the store belongs to another study, is damaged, or is being written by another run;
            data or GPUs are missing; Ray does not start; or a machine of the cluster does not see the store.
        StorageError: the store cannot be written any more.
        ClusterLost: a process of Ray that is needed here died.
        KeyboardInterrupt: the user stopped the run.
    """
    stop = stop or Stop()
    if options.address is None:
        this_machine(options.packs_per_gpu, options.gpus)  # refuses wrong options before anything is made
    store.check(spec)
    stages, found = by_stage(spec, stored := Stored.of(store))
    before = together(stages)
    if before.damaged:
        raise StudyError(f"{' '.join(before.damaged)} Remove what is named, and its trials will be trained again.")
    num_done, num_planned = before.count(*MEASURED), len(before.planned) + len(before.to_come)
    screen.say(f"{spec.name}: {plural(num_planned, 'trial')} planned, {num_done} done already.")
    for line in same_tasks(spec):
        screen.say(line)
    if options.retry_failed and not before.count("failed"):
        screen.say("None of them failed.")
        return 0
    if num_done == num_planned:
        _tell(screen, set(), spec, store, found, stored)  # the record too: a run may have been killed before
        return 0
    datasets = _datasets(spec, options.data)
    start = time.monotonic()
    with Lease(store.files) as lease:
        store.claim(spec, provenance())
        try:
            packs = _train(spec, store, screen, options, datasets, lease, start, stop)
        except KeyboardInterrupt:
            _say_kept(screen, store, before)
            raise
        after = standing(spec, store)
        # Again, now that no worker writes: a slow storage may have carried out a write after its pack had ended.
        store.tidy({pack.id for pack in without(packs, after.done())})
        if not spec.keep_models:
            forget_beginnings(packs, after, store)
        if len(store.files.names("trials")) > MANY_FILES:
            store.compact()
    if after.damaged:
        raise StudyError(" ".join(after.damaged))
    missing = after.count(None) + len(after.to_come)
    screen.say(
        f"Ended after {clock(time.monotonic() - start)}. Of {len(after.planned) + len(after.to_come)} planned: "
        f"{after.count('ok')} ok, "
        f"{after.count('diverged')} diverged, {after.count('failed')} failed"
        + (f", {missing} still to train." if missing else "."),
    )
    _say_kept(screen, store, after)
    return after.count("failed") + (0 if options.retry_failed else missing)


def _say_kept(screen: Screen, store: TrialStore, now: Standing) -> None:
    if text := kept_half_way(store.unfinished(), now):
        screen.say(f"Kept half way: {text}.")


def kept_half_way(packs: Iterable[Unfinished], now: Standing, running: Collection[str] = ()) -> str:
    """The packs that go on from where they were, in words; empty where there are none.

    Args:
        packs: the store's unfinished ones.
        now: the study beside the store.
        running: ids of trials that are being trained, which are not named.
    """
    left = (planned.trained for planned in now.planned if not planned.is_done)
    num_visits = {trial_id(trial): trial.num_visits for trial in left}
    return half_way(packs, {name: num for name, num in num_visits.items() if name not in running})


def _train(
    spec: StudySpec,
    store: TrialStore,
    screen: Screen,
    options: RunOptions,
    datasets: dict[str, Dataset],
    lease: Lease,
    start: float,
    stop: Stop,
) -> list[Pack]:
    """Train the packs that are left to do, stage after stage, and return them."""
    from study.tune import Engine  # imports Ray, which takes seconds: only where there is work

    with contextlib.ExitStack() as running:
        with screen.waiting("starting Ray"):
            engine = running.enter_context(Engine(options.address, options.packs_per_gpu, options.gpus, stop))
            lease.confirm()
            _check_shared(store, engine, lease)
        # Under the lease, so that all results of an earlier run are seen.
        stages, found = by_stage(spec, stored := Stored.of(store))
        plans = [_planned(stage, engine, options) for stage in stages]
        packs = {pack.id: pack for plan in plans for pack in plan.left}
        heartbeat = running.enter_context(Heartbeat(store.files))
        store.tidy(packs)
        store.begin_again()
        told = set[str]()
        for number in range(len(stages)):
            if number == len(stages) - 1:
                _tell(screen, told, spec, store, found, stored)
            if plans[number].left:
                _train_stage(spec, store, screen, options, datasets, engine, start, plans[number], heartbeat)
            if spec.tune is None or stop.due():
                break
            stages, found = by_stage(spec, stored := Stored.of(store))
            plans = [_planned(stage, engine, options) for stage in stages]
            packs |= {pack.id: pack for plan in plans for pack in plan.left}
        _tell(screen, told, spec, store, found, stored)
    return list(packs.values())


@dataclass(frozen=True, kw_only=True)
class _StagePlan:
    """How a stage's trials are trained.

    Attributes:
        stage: which.
        workers: by whom.
        why: they, in words; empty where there is no choice.
        left: the packs that are left to do.
    """

    stage: Standing
    workers: Workers
    why: str
    left: list[Pack]


def _planned(stage: Standing, engine: "Engine", options: RunOptions) -> _StagePlan:
    at_once = options.max_concurrent or max(workers.count for workers in engine.choices)
    choices = [workers for workers in engine.choices if workers.packs_per_gpu == 1 or workers.count <= at_once]
    packs_of = cache(lambda those: stage.packs(those, options.max_members))
    workers, why = chosen(choices or engine.choices, packs_of)
    passed_over = {trial_id(p.trained) for p in stage.planned if options.retry_failed and p.status != "failed"}
    left = without(packs_of(workers), stage.done() | passed_over)
    return _StagePlan(stage=stage, workers=workers, why=why, left=left)


def _train_stage(
    spec: StudySpec,
    store: TrialStore,
    screen: Screen,
    options: RunOptions,
    datasets: dict[str, Dataset],
    engine: "Engine",
    start: float,
    plan: _StagePlan,
    heartbeat: Heartbeat,
) -> None:
    if plan.stage.name:
        screen.say(f"{plan.stage.name}: {plural(sum(len(pack.trials) for pack in plan.left), 'trial')}")
    if plan.why:
        screen.say(f"By the plan {plan.why}.")
    engine.workers = plan.workers
    jobs = [
        Job(
            study=spec.name,
            pack=pack,
            store=store.uri,
            checkpoint_seconds=options.checkpoint_seconds,
            time_limit=options.time_limit,
            keep_state=options.keep_state or spec.keep_models,
        )
        for pack in plan.left
    ]
    limits = Limits(threads=plan.workers.threads(len(plan.stage.trained)), max_concurrent=options.max_concurrent)
    at_once = max(1, plan.workers.count // limits.threads)
    tally = Tally(plan.left, spec.varying, plan.workers, start, min(at_once, options.max_concurrent or at_once))
    with Display(screen, tally, heartbeat) as display:
        engine.run(jobs, datasets, display, limits)


def _tell(
    screen: Screen, told: set[str], spec: StudySpec, store: TrialStore, found: Sequence[Found], stored: Stored
) -> None:
    """Say what was chosen, once, and record it in the store."""
    for line in chosen_lines(spec, found):
        if line not in told:
            screen.say(line)
        told.add(line)
    if found:
        store.files.write(RECORD, record(spec, found, stored))


def forget_beginnings(packs: Iterable[Pack], after: Standing, store: TrialStore) -> None:
    """Remove states from which longer trials went on and whose own later states are stored.

    This waits until all trials are done: until then the states decide which trials train together (`make_packs`).
    """
    if not all(planned.is_done for planned in after.planned):
        return
    kept = store.kept()
    for pack in packs:
        for trial, start in zip(pack.trials, pack.starts, strict=False):
            if {trial_id(trial), start.trial_id} <= kept:
                store.forget_state(start.trial_id)


def _check_shared(store: TrialStore, engine: "Engine", lease: Lease) -> None:
    """Refuse a store that a machine of the cluster does not see."""
    if engine.address is None:
        return
    blind = engine.unreachable(store.uri, lease.id)
    if blind and store.files.folder:
        raise StudyError(
            f"out={store.out!r} is a folder that {', '.join(blind)} cannot see, so its workers could not store "
            "anything there; use a folder that all machines share, or a URI such as s3://bucket/path."
        )
    if blind:
        raise StudyError(
            f"out={store.out!r} cannot be read on {', '.join(blind)} ({next(iter(blind.values()))[:300]}). AWS_* and "
            "GOOGLE_* variables of this shell travel there; what else opens the store, such as files in ~/.aws or a "
            "role, has to be there too."
        )


def _datasets(spec: StudySpec, data: Path | None) -> dict[str, Dataset]:
    try:
        return {name: load_dataset(name, data) for name in _names(spec)}
    except ValueError as error:
        raise StudyError(str(error)) from None


def find_data(spec: StudySpec, data: Path | None) -> list[str]:
    """A line for each data set of the study: where the data set is, or from where a run fetches it.

    Raises:
        StudyError: a data set is missing and cannot be fetched.
    """
    try:
        return [where_is(name, data) for name in _names(spec)]
    except ValueError as error:
        raise StudyError(str(error)) from None


def _names(spec: StudySpec) -> list[str]:
    return sorted({trial.data_name for trial in spec.trials() if trial.data_name})
