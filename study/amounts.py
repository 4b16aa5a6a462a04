"""What the time of a pack is made of, counted: its members' work, put together."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from psp_core.experiment import Experiment, Work
from psp_core.trial import TrialConfig
from study.rates import Amounts, Row


def amounts(trials: Sequence[Experiment], tasks_before: int = 0) -> Amounts:
    """Those of a pack of these trials, but for so many tasks at their beginning."""
    return _together([(trial.row["seed"], trial.work(tasks_before)) for trial in trials])


def amounts_of_row(row: Row) -> Amounts:
    """Those of what was measured."""
    trial = TrialConfig(**row.settings)
    work = dataclasses.replace(
        trial.work(),
        num_steps=row.steps,
        num_tasks=row.tasks,
        networks=row.networks,
        tests=row.tests,
        drawing_products=trial.work().drawing_products * row.drawn,
    )
    together = _together([(seed % 3, work) for seed in range(row.members)])
    return dataclasses.replace(together, workers=row.workers, packs=row.packs)


def _together(members: Sequence[tuple[int, Work]]) -> Amounts:
    """Those of members, each with its seed: members of a seed share what is drawn."""
    own = [_own(work, number) for work, number in Counter(work for _, work in members).items()]
    return Amounts(
        packs=1,
        tasks=max(work.num_tasks for _, work in members),
        steps=max(work.num_steps for _, work in members),
        drawn=sum(products for _, products in {(seed, work.drawing_products) for seed, work in members}),
        products=sum(one.products for one in own),
        rounded_products=sum(one.rounded_products for one in own),
        activations=sum(one.activations for one in own),
        numbers=sum(one.numbers for one in own),
        bound=sum(one.bound for one in own),
        answers=sum(one.answers for one in own),
    )


def _own(work: Work, number: int) -> Amounts:
    """What so many members with the same work add to their pack."""
    of_steps = number * work.num_steps * work.batch_size * work.step_products
    of_ends = number * work.num_tasks * work.ending_products
    of_tests = number * (work.networks * work.network_products + work.tests * work.test_products)
    return Amounts(
        products=of_ends + of_tests + (0 if work.is_rounded else of_steps),
        rounded_products=of_steps if work.is_rounded else 0,
        activations=number
        * (work.num_steps * work.batch_size * work.step_activations + work.networks * work.network_numbers),
        numbers=number * work.num_steps * work.step_numbers,
        bound=number * work.num_steps * work.step_bound,
        answers=number * work.tests * work.test_activations,
    )
