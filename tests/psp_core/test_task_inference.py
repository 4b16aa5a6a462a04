"""Whole trials whose networks find out which task a batch is of, beside plain loops."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from psp_core import Trial, TrialConfig, load_dataset, train
from psp_core.evaluation import Finders, TaskInferred
from psp_core.held_out import HeldOut, task_batch
from psp_core.methods.superposed import build_model
from psp_core.supermasks import entropy
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import started, whole_and_resumed
from tests.contracts import rng

CPU = torch.device("cpu")
DIGITS = TrialConfig(
    dataset="digits", permute_first=True, width=64, num_tasks=3, steps_per_task=100, batch_size=64, lr=0.003,
    task_inference="entropy-one-shot", inference_images=16,
)  # fmt: skip
DESCENT = {"task_inference": "entropy-gradient-descent", "inference_lr": 0.05, "inference_steps": 5}
MASKS = replace(DIGITS, method="supsup", context="none", superfluous=20)
CONV = replace(DIGITS, model="small-conv", width=4, lr=0.01, steps_per_task=40)
KINDS = {
    "binary": replace(DIGITS, task_inference="entropy-binary"),
    "complex": replace(DIGITS, context="complex", width=32, superfluous=20, task_inference="superfluous-one-shot"),
    "rotation": replace(DIGITS, context="rotation", width=32, inference_images=1, inference_layers="first"),
    "exhaustive": replace(DIGITS, task_inference="entropy-exhaustive", shared_labels=True),
    "descent": replace(DIGITS, **DESCENT),
    "masks, descent": replace(MASKS, **DESCENT),
    "masks, exhaustive": replace(MASKS, task_inference="entropy-exhaustive", shared_labels=True),
    "learned": replace(DIGITS, learned_contexts=True, lr=0.001),
    "cycles": replace(DIGITS, num_cycles=2, steps_per_task=50),
    "lenet": replace(DIGITS, model="lenet-300-100", width=256, num_tasks=2, steps_per_task=20),
    "conv": CONV,
    "norms per task": replace(CONV, norm="per-task", num_tasks=2, inference_layers="first"),
    "batche": replace(CONV, output_contexts=True, channel_contexts=True, num_tasks=2),
    "split": replace(CONV, stream="split", permute_first=False, classes_per_task=3, steps_per_task=10, eval_samples=20),
}


def trained(config: Trial) -> PackTraining:
    training = PackTraining([config], load_dataset("digits"), CPU)
    while not training.done:
        training.train_task()
    return training


def finders(training: PackTraining) -> Finders:
    """The members as they answer once all tasks were begun."""
    answerer = training.learner.answerer(training.config.num_tasks)
    assert isinstance(answerer, TaskInferred)
    return answerer.networks


def questions(training: PackTraining, member: int) -> Tensor:
    """The first images of some batches of each task, (A, B, I)."""
    data, num_images = training.dataset, training.config.inference_images
    tasks = range(training.config.num_tasks)
    inputs = [task_batch(training.tasks[member], k, data, data.test_images, data.test_labels)[0] for k in tasks]
    return torch.cat([x_NI[: 10 * num_images].view(10, num_images, -1) for x_NI in inputs])


@pytest.mark.parametrize("kind", [kind for kind, config in KINDS.items() if config.method.name == "psp"])
def test_a_member_answers_as_it_does_alone(kind: str) -> None:
    config, data = KINDS[kind], load_dataset("digits")
    pack = PackTraining([config, replace(config, seed=1), replace(config, seed=1, lr=0.002)], data, CPU)
    while not pack.done:
        pack.train_task()
    for e, of_member in enumerate(pack.configs):
        result = pack.results()[e]
        assert result.answers["inferred"].isfinite().equal(result.accuracy.isfinite())
        alone = PackTraining([of_member], data, CPU)
        alone.learner.load_member_state(0, pack.learner.member_state(e))
        asked = questions(pack, e)
        answers = finders(pack).find(e, asked)
        assert torch.equal(finders(alone).find(0, asked), answers)
        assert len(answers.unique()) > 1 or config.model.name == "small-conv"  # these are too short to tell tasks apart


@pytest.mark.parametrize("kind", ["binary", "learned", "cycles"])
def test_training_goes_on_from_its_state_to_the_bit(kind: str) -> None:
    whole, second = whole_and_resumed([replace(KINDS[kind], seed=seed) for seed in range(2)], stop_after=1)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert torch.equal(mine.accuracy.nan_to_num(), theirs.accuracy.nan_to_num())
        assert torch.equal(mine.answers["inferred"].nan_to_num(), theirs.answers["inferred"].nan_to_num())


@pytest.mark.parametrize("shared_labels", [False, True])
@pytest.mark.parametrize("kind", ["exhaustive", "masks, exhaustive", "conv"])
def test_accuracy_is_what_a_plain_loop_over_batches_gives(kind: str, shared_labels: bool) -> None:
    """The task whose network is surest of the first 16 images; then all images of the batch by that network."""
    config = replace(KINDS[kind], task_inference="entropy-exhaustive", shared_labels=shared_labels, inference_images=2)
    training, data = trained(config), load_dataset("digits")
    networks = finders(training)
    result, wrong_tasks = training.results()[0], 0
    for task in range(3):
        x_NI, labels_N = task_batch(training.tasks[0], task, data, data.test_images, data.test_labels)
        correct, found = [], []
        for x_BI, labels_B in zip(x_NI.split(128), labels_N.split(128), strict=True):
            surest = min(range(3), key=lambda k, x=x_BI: entropy(networks.answer(0, k, x[:2]), 10).item())
            right = networks.answer(0, surest, x_BI).argmax(dim=1) == labels_B
            correct += (right if shared_labels or surest == task else torch.zeros_like(right)).tolist()
            found.append(surest == task)
        assert result.accuracy[-1, task].item() == pytest.approx(sum(correct) / len(correct))
        assert result.answers["inferred"][-1, task].item() == pytest.approx(sum(found) / len(found))
        wrong_tasks += len(found) - sum(found)
    assert (wrong_tasks > 0) == (kind == "conv")


@pytest.mark.parametrize("kind", ["binary", "masks, descent"])
def test_shared_labels_count_what_the_other_task_s_network_gets_right(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Task 1's network is asked for every batch: task 1 is found everywhere, tasks 0 and 2 nowhere."""
    training, data = trained(KINDS[kind]), load_dataset("digits")
    networks, held_out = finders(training), HeldOut.of(training.tasks, data, most=None, batch_size=1000)
    monkeypatch.setattr(networks, "find", lambda member, x: torch.ones(len(x)).long())
    accuracies = {}
    for shared in (False, True):
        inference = replace(KINDS[kind], shared_labels=shared).method.inference
        measured = TaskInferred(networks, inference).measure(held_out, range(3))
        accuracies[shared] = measured["accuracy"][0]
        assert measured["inferred"].tolist() == [[0, 1, 0]]
    assert accuracies[False][[0, 2]].tolist() == [0, 0]
    assert accuracies[False][1] == accuracies[True][1]
    for task in (0, 2):
        x_NI, labels_N = task_batch(training.tasks[0], task, data, data.test_images, data.test_labels)
        by_chance = (networks.answer(0, 1, x_NI).argmax(dim=1) == labels_N).double().mean()
        assert accuracies[True][task].item() == pytest.approx(by_chance.item())
        assert 0 < by_chance < 0.5


@pytest.mark.parametrize("context", ["binary", "complex", "rotation"])
def test_the_task_is_found_more_often_than_by_chance(context: str) -> None:
    """72 questions about three tasks: 0.79, 0.74 and 0.75 are found; exhaustive search finds 0.99 by one image."""
    base = replace(DIGITS, context=context, inference_layers="first")
    configs = [replace(base, seed=seed) for seed in range(8)]
    inferred = torch.stack([result.answers["inferred"][-1] for result in train(configs)])
    assert inferred.mean() > 0.55
    searched = [replace(config, task_inference="entropy-exhaustive", inference_layers="all") for config in configs]
    assert torch.stack([result.answers["inferred"][-1] for result in train(searched)]).mean() > 0.9


@pytest.mark.parametrize("norm", ["static", "per-task"])
@pytest.mark.parametrize("layers", ["all", "first"])
@pytest.mark.parametrize("output_contexts", [False, True])
def test_a_resnet_is_asked_through_its_contexts_alone(norm: str, layers: str, output_contexts: bool) -> None:
    """Autograd through the module, whose contexts are replaced by their mean; its stem may have none.

    Statistics of each task's own are no contexts: whatever they are, a mix is normalised by the question's images.
    """
    config = TrialConfig(
        dataset="mnist", model="resnet-18", width=3, num_tasks=3, context="gaussian", output_contexts=output_contexts,
        norm=norm, task_inference="entropy-one-shot", inference_layers=layers,
    )  # fmt: skip
    learner, net = started(config), build_model(config, CPU).train()
    networks = learner.networks
    for name in networks.measured:
        nn.init.uniform_(networks.all_contexts[0][name], 0.5, 2, generator=rng())
    rows = {name: rows for name, rows in net.named_buffers() if name.endswith("contexts") and rows.numel()}
    first = "stem.conv" if output_contexts else "blocks.0.conv1.conv"
    asked = [name for name in rows if layers == "all" or name.startswith(first)]
    x_ABI, expected = torch.randn(12, 4, 784, generator=rng(1)), []
    for x_BI in x_ABI:
        mix = {name: of_layer.mean(0, keepdim=True).requires_grad_() for name, of_layer in rows.items()}
        value = entropy(functional_call(net, mix, (x_BI, 0)), 10)
        gradients = torch.autograd.grad(value, [mix[name] for name in asked])
        expected.append(sum((rows[name] * g).sum(1) for name, g in zip(asked, gradients, strict=True)))
    answers = learner.answerer(3).networks.find(0, x_ABI)
    assert torch.equal(answers, torch.stack(expected).argmin(1))
    assert len(answers.unique()) > 1


def test_only_tasks_that_were_trained_are_candidates() -> None:
    result = train([replace(DIGITS, num_tasks=2, superfluous=20)])[0]
    assert result.answers["inferred"][0, 0].item() == 1
    cycles = train([KINDS["cycles"]])[0].answers["inferred"]
    assert cycles[0, 0].item() == 1
    assert cycles[3:].isfinite().all()


def test_nobody_asks_where_the_task_is_given() -> None:
    result = train([replace(DIGITS, task_inference="given", inference_images=1, num_tasks=1)])[0]
    assert result.answers == {}
    assert result.accuracy.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": "permutation"}, "context='permutation' has none that can be mixed; .* or use binary, complex"),
        ({"context": "none"}, "context='none' has none"),
        ({"context": "none", "superfluous": 9, "task_inference": "given", "inference_images": 1}, "superfluous=9"),
        ({"context": "structured-rotation"}, "or method 'supsup'"),
        ({"heads": "per-task"}, "use shared heads"),
        ({"contexts_per_task": 2}, "one context of its own in every layer"),
        ({"context": "complex", "schedule": "local-mix"}, "one context of its own in every layer"),
        ({"task_inference": "superfluous-one-shot"}, "needs superfluous outputs; give some, such as 90"),
        ({"inference_images": 129}, r"inference_images=129 must lie in 1\.\.128: so many images a batch has"),
        (
            {"task_inference": "given", "inference_images": 16},
            "inference_images=16 does not apply to task_inference='given'",
        ),
        ({"task_inference": "given", "inference_images": 1, "shared_labels": True}, "shared_labels=True does not"),
        ({"inference_lr": 0.1}, "inference_lr=0.1 does not apply to task_inference='entropy-one-shot'"),
        ({"inference_steps": 3}, "leave it out, or use 'entropy-gradient-descent' or 'superfluous-gradient-descent'"),
        ({**DESCENT, "inference_lr": None}, "needs inference_lr"),
        (
            {"task_inference": "entropy-gradient-descent", "inference_lr": 0.1},
            "descent' needs inference_steps: Steps of",
        ),
        ({**DESCENT, "inference_lr": 0}, "inference_lr=0.0 must be a positive"),
        ({**DESCENT, "inference_steps": 0}, "inference_steps=0 must be at least 1"),
        (
            {"task_inference": "entropy-exhaustive", "inference_layers": "first"},
            "first' does not apply to task_inference='entropy-exh",
        ),
        ({"method": "supsup", "context": "none", "inference_layers": "first"}, "not for method='supsup'"),
        ({"inference_layers": "last"}, "inference_layers='last' is not known"),
        ({"model": "resnet-18", "width": 4}, "cannot be asked by single images"),
        ({"task_inference": "superfluous-exhaustive"}, "is not known"),
    ],
)
def test_what_does_not_apply_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DIGITS, **settings)
