import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.contexts import get_context
from psp_core.models import mlp
from psp_core.optimisers import OPTIMISERS
from psp_core.streams.permuting import PermutingTasks
from psp_core.training import PackTraining
from psp_core.trial import replace
from psp_core.visits import batch_order
from tests.conftest import begin
from tests.contracts import rng
from tests.psp_core.test_optimisers import TORCH, as_it_comes, by_expression, stepper

STEPS = 12
DIGITS = TrialConfig(
    dataset="digits", width=8, num_tasks=2, steps_per_task=STEPS, batch_size=16, lr=0.1, optimiser="sgd"
)
SCHEDULES = {
    "cosine": {"lr_schedule": "cosine"},
    "cosine after a warm-up": {"lr_schedule": "cosine", "warmup_steps": 4},
    "warm-up": {"warmup_steps": 5},
    "multistep": {"lr_schedule": "multistep", "lr_decay_steps": 5, "lr_decay": 0.3},
    "multistep after a warm-up": {"lr_schedule": "multistep", "lr_decay_steps": 3, "warmup_steps": 2},
}


def torchs(optimiser: torch.optim.Optimizer, config: Trial) -> lr_scheduler.LRScheduler:
    """The same schedule of torch's."""
    warm, after = config.warmup_steps, config.steps_per_task - config.warmup_steps
    schedule = {
        "constant": lambda: lr_scheduler.ConstantLR(optimiser, factor=1.0),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimiser, T_max=after),
        "multistep": lambda: lr_scheduler.MultiStepLR(
            optimiser, list(range(config.lr_decay_steps, after, config.lr_decay_steps)), gamma=config.lr_decay
        ),
    }[config.lr_schedule.name]()
    if not warm:
        return schedule
    rise = lr_scheduler.LinearLR(optimiser, start_factor=1 / warm, total_iters=warm - 1)
    return lr_scheduler.SequentialLR(optimiser, [rise, schedule], milestones=[warm])


@pytest.mark.parametrize("change", [as_it_comes, by_expression])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore:.*deprecated.*")  # SequentialLR's own way to call its parts
def test_every_member_takes_the_steps_of_torchs_schedule(name: str, optimiser: str, change: object) -> None:
    config = replace(DIGITS, optimiser=optimiser, **SCHEDULES[name])
    lrs = [0.1, 0.003]
    parameters = torch.randn(2, 50, generator=rng(), dtype=torch.float64)
    alone = [nn.Parameter(row.clone()) for row in parameters]
    gradients = torch.zeros_like(parameters)
    ours, factors_S = stepper(optimiser, parameters, gradients, lrs), config.lr_schedule.factors(STEPS)
    change(ours)
    theirs = [TORCH[optimiser]([p], lr=lr, momentum=0.0) for p, lr in zip(alone, lrs, strict=True)]
    schedules = [torchs(of_member, config) for of_member in theirs]
    for step in range(STEPS):
        gradients.copy_(torch.randn(2, 50, generator=rng(step), dtype=torch.float64))
        for parameter, of_member, schedule, gradient in zip(alone, theirs, schedules, gradients, strict=True):
            assert of_member.param_groups[0]["lr"] > 0
            parameter.grad = gradient.clone()
            of_member.step()
            schedule.step()
        ours.step(factors_S[step : step + 1])
        torch.testing.assert_close(parameters, torch.stack(alone).detach(), atol=1e-12, rtol=1e-12)


def test_a_task_trains_as_a_plain_loop_whose_schedule_starts_again_with_each_task() -> None:
    config = replace(DIGITS, lr_schedule="cosine", warmup_steps=3)
    data = load_dataset("digits")
    model = mlp(8, 2, get_context("binary"), in_features=64, out_features=10, num_tasks=2, seed=0)
    optimiser, stream = torch.optim.SGD(model.parameters(), lr=config.lr), PermutingTasks(64, 0)
    lrs = config.lr * config.lr_schedule.factors(STEPS)
    for task in range(2):
        for lr, samples in zip(lrs.tolist(), batch_order(config, len(data.train_labels), task), strict=True):
            optimiser.param_groups[0]["lr"] = lr
            x = data.normalise(data.train_images[samples][:, stream.describe(task)])
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x, task=task), data.train_labels[samples]).backward()
            optimiser.step()
    training = PackTraining([config, replace(config, seed=1)], data, torch.device("cpu"))
    for _ in range(2):
        training.train_task()
    for name, expected in model.named_parameters():
        torch.testing.assert_close(
            training.learner.networks.parameters[name][0], expected.detach(), atol=1e-5, rtol=1e-4
        )


def test_what_belongs_to_a_task_has_the_schedule_too() -> None:
    """The scores of masks: at factors of next to nothing they stay as they were drawn."""
    config = replace(DIGITS, method="supsup", context="none", lr_schedule="multistep", lr_decay_steps=1, lr_decay=1e-9)
    training = PackTraining([config], load_dataset("digits"), torch.device("cpu"))
    begin(training, 0)
    own = training.learner.groups[1].values_EP
    scores = [own.clone()]
    for _ in range(STEPS):
        training._step()
        scores.append(own.clone())
    assert not torch.equal(scores[1], scores[0])
    torch.testing.assert_close(scores[-1], scores[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup_steps": 12}, "warmup_steps=12 must be below steps_per_task=12"),
        ({"lr_schedule": "multistep"}, "lr_schedule='multistep' needs lr_decay_steps: The steps between"),
        ({"lr_schedule": "multistep", "lr_decay_steps": 6, "warmup_steps": 6}, "below the 6 steps"),
        ({"lr_decay_steps": 6}, "lr_decay_steps=6 does not apply to lr_schedule='constant'"),
        ({"lr_schedule": "cosine", "lr_decay": 0.5}, "lr_decay=0.5 does not apply to lr_schedule='cosine'"),
        ({"lr_schedule": "multistep", "lr_decay_steps": 6, "lr_decay": 1}, r"lr_decay=1.0 must lie in \(0, 1\)"),
        ({"lr_schedule": "cosin"}, "did you mean 'cosine'"),
        (
            {
                "method": "supsup", "context": "none", "task_inference": "entropy-one-shot", "shared_labels": True,
                "new_mask_eps": 0.1, "steps_per_decision": 6, "warmup_steps": 2,
            },
            "warmup_steps=2 do not apply to new_mask_eps",
        ),
    ],
)  # fmt: skip
def test_schedules_without_room_and_idle_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DIGITS, **settings)
