import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from psp_core import Trial, TrialConfig, train
from psp_core.groups import Batch, Stretch
from psp_core.methods.supsup import SupermaskLearner
from psp_core.supermasks import OBJECTIVES
from psp_core.supermasks.module_superposition import ModuleSuperposition
from psp_core.supermasks.superposition import Superposition
from psp_core.trial import replace
from tests.conftest import plain_module, started
from tests.contracts import rng

CPU = torch.device("cpu")
NUM_TASKS = 5
CONV = TrialConfig(
    dataset="digits", method="supsup", context="none", model="small-conv", width=4, depth=2, num_tasks=NUM_TASKS,
    superfluous=6, task_inference="entropy-one-shot",
)  # fmt: skip
RESNET = replace(CONV, dataset="mnist", model="resnet-18", width=2)
NETWORKS = {
    "convolutions": CONV,
    "norms per task": replace(CONV, norm="per-task"),
    "top-k": replace(CONV, masks="top-k", sparsity=2),
    "shortcuts": RESNET,
    "shortcuts, norms per task": replace(RESNET, norm="per-task"),
}


def keep_masks_as_they_begin(pack: SupermaskLearner) -> None:
    nothing: Batch = torch.empty(0), torch.empty(0)
    for task in range(NUM_TASKS):
        stretch = Stretch(
            task=task, index=0, count=1, batch_size=1, first=lambda: nothing, recent=lambda number: iter(())
        )
        pack.begin(stretch)
        pack.end(stretch)


def made(config: Trial) -> tuple[SupermaskLearner, ModuleSuperposition]:
    """A pack with masks as they begin, and with statistics that are no batch's."""
    pack = config.method.start([config], CPU)
    keep_masks_as_they_begin(pack)
    for name in pack._networks.measured:
        nn.init.uniform_(pack._networks.all_contexts[0][name], 0.5, 2, generator=rng())
    superposition = pack.superposition(0)
    assert isinstance(superposition, ModuleSuperposition)
    return pack, superposition


def images(pack: SupermaskLearner, *leading: int) -> Tensor:
    num_inputs = 64 if pack.trial.dataset.name == "digits" else 784
    return torch.randn(*leading, 3, num_inputs, generator=rng(20))


def dense_logits(pack: SupermaskLearner, x_BI: Tensor, alpha: Tensor) -> Tensor:
    """The definition: the plain module with weights W * sum_i alpha_i M^i, normalised over the batch."""
    net = plain_module(pack.trial).train()
    masks = [pack.tables[0].mask(task) for task in range(NUM_TASKS)]
    names = [name for name, _ in net.named_parameters() if name.endswith("weight")]
    weights = {
        name: weight[0] * sum(a * of_task[layer] for a, of_task in zip(alpha, masks, strict=True))
        for layer, (name, weight) in enumerate(zip(names, pack.weights, strict=True))
    }
    logits: Tensor = functional_call(net, weights, (x_BI, 0))
    return logits


def dense_gradient(pack: SupermaskLearner, objective: str, x_BI: Tensor, alpha: Tensor) -> Tensor:
    alpha = alpha.clone().requires_grad_()
    return torch.autograd.grad(OBJECTIVES[objective](dense_logits(pack, x_BI, alpha), 10), alpha)[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_gradient_is_autograds_through_the_plain_module_with_mixed_weights(kind: str, objective: str) -> None:
    config = replace(NETWORKS[kind], task_inference=f"{objective}-one-shot")
    pack, superposition = made(config)
    x, uniform = images(pack, 2), torch.full((NUM_TASKS,), 1 / NUM_TASKS)
    alphas = torch.rand(2, NUM_TASKS, generator=rng())
    at_uniform, at_own = superposition.gradient(x), superposition.gradient(x, alphas)
    close = {"atol": 1e-5, "rtol": 1e-3}
    for place in range(2):
        expected = dense_gradient(pack, objective, x[place], uniform)
        assert expected.abs().max() > 1e-4
        torch.testing.assert_close(at_uniform[place], expected, **close)
        expected = dense_gradient(pack, objective, x[place], alphas[place])
        torch.testing.assert_close(at_own[place], expected, **close)


def test_tasks_that_are_not_named_have_no_part() -> None:
    pack, superposition = made(CONV)
    tasks, of_tasks, alpha = torch.tensor([3, 1]), torch.tensor([0.7, 0.3]), torch.zeros(NUM_TASKS)
    alpha[tasks] = of_tasks
    (x_BI,) = x = images(pack, 1)
    expected = dense_gradient(pack, "entropy", x_BI, alpha)[tasks]
    torch.testing.assert_close(superposition.gradient(x, of_tasks, tasks)[0], expected, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(superposition.logits(x, of_tasks, tasks)[0], dense_logits(pack, x_BI, alpha))


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_task_s_value_is_its_own_networks(kind: str) -> None:
    pack, superposition = made(NETWORKS[kind])
    x = images(pack, 2, 1)
    expected = [OBJECTIVES["entropy"](pack.answer_as(0, 2, x_BI), 10) for x_BI in x.flatten(0, 1)]
    torch.testing.assert_close(superposition.value(x, 2), torch.stack(expected).view(2, 1))


def test_of_a_fully_connected_network_it_is_what_superposition_gives() -> None:
    pack = started(replace(CONV, model="mlp", width=7))
    keep_masks_as_they_begin(pack)
    usual = pack.superposition(0)
    assert type(usual) is Superposition

    def mixed(weights: list[Tensor], x_BI: Tensor) -> Tensor:
        *hidden, last = weights
        for weight in hidden:
            x_BI = (x_BI @ weight).relu()
        return x_BI @ last

    other = ModuleSuperposition(
        mixed, lambda mask, x: pack.answer_as(0, mask, x), usual.weights, usual.table, usual.objective, 10
    )
    x, alpha = images(pack, 4), torch.rand(4, NUM_TASKS, generator=rng())
    torch.testing.assert_close(other.gradient(x), usual.gradient(x))
    torch.testing.assert_close(other.gradient(x, alpha), usual.gradient(x, alpha))
    torch.testing.assert_close(other.logits(x), usual.logits(x))


def test_a_network_that_normalises_one_pixel_cannot_be_asked_by_single_images() -> None:
    with pytest.raises(ValueError, match="has one pixel left of dataset='digits'"):
        replace(CONV, model="resnet-18")


@pytest.mark.parametrize("norm", ["static", "per-task"])
def test_convolutions_find_their_tasks_more_often_than_by_chance(norm: str) -> None:
    """Of four permutations, by all images of a batch: chance is a quarter of 36 questions, give or take 2.6."""
    config = replace(
        CONV, superfluous=0, width=8, num_tasks=4, steps_per_task=60, batch_size=32, lr=0.01, norm=norm,
        permute_first=True, inference_images=128, eval_tasks="first",
    )  # fmt: skip
    found = {}
    for inference in ("entropy-one-shot", "entropy-exhaustive"):
        results = train([replace(config, task_inference=inference, seed=seed) for seed in range(3)])
        found[inference] = torch.stack([result.answers["inferred"][-1] for result in results]).mean().item()
    assert found["entropy-one-shot"] > 0.25 + 3 * 0.072
    assert found["entropy-exhaustive"] > 0.8


@pytest.mark.parametrize(
    "settings",
    [
        {"dataset": "digits", "model": "small-conv", "depth": 2},
        {"dataset": "digits", "stream": "split", "classes_per_task": 2},
    ],
)
def test_masks_of_no_named_task_are_found_in_convolutions_and_of_split_classes(settings: dict[str, object]) -> None:
    """What is measured of a task is the mask that was trained most on it, wherever there is no retrieval."""
    config = TrialConfig(
        method="supsup", context="none", width=8, num_tasks=2, steps_per_task=6, steps_per_decision=2, batch_size=8,
        new_mask_eps=0.01, task_inference="entropy-one-shot", shared_labels=True, lr=0.01, eval_samples=40, **settings,
    )  # fmt: skip
    (result,) = train([config])
    assert result.loss[-1].isfinite().all()
    assert 1 <= result.notes["num_masks"] <= 5


def test_statistics_of_tasks_that_nobody_names_are_refused() -> None:
    with pytest.raises(ValueError, match="norm='per-task': statistics are a task's, and no task is told"):
        replace(CONV, norm="per-task", new_mask_eps=0.1, shared_labels=True)
