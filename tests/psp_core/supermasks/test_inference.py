import math

import pytest
import torch
from torch import Tensor, nn

from psp_core.datasets import load_dataset
from psp_core.supermasks import (
    OBJECTIVES,
    MaskTable,
    Superposition,
    binary,
    entropy,
    gradient_descent,
    is_new_task,
    mask_gradient,
    one_shot,
    score_init,
    signed_kaiming_constant,
    threshold_mask,
    threshold_score_gradient,
)
from psp_core.supermasks.inference import Algorithm
from tests.contracts import rng
from tests.psp_core.supermasks.test_superposition import NUM_TASKS, images, make

SHAPES = [(64, 64), (64, 32), (32, 20)]
STEPS, BATCH = 200, 32


class Told(Superposition):
    """Whose gradients are given: each question has those of all tasks, whatever alpha is."""

    def __init__(self, gradients: Tensor) -> None:
        self.gradients = gradients
        self.table = MaskTable([(1, 1)], gradients.shape[1])
        for _ in range(gradients.shape[1]):
            self.table.append([torch.ones(1, 1)])
        self.asked: list[int] = []

    def gradient(self, x: Tensor, alpha: Tensor | None = None, tasks: Tensor | None = None) -> Tensor:
        if alpha is not None:
            assert alpha.sum(-1).tolist() == pytest.approx([1] * len(x))
        self.asked.append(self.gradients.shape[1] if alpha is None else int((alpha[0] > 0).sum()))
        return self.gradients if tasks is None else self.gradients[:, tasks]


def permuted(task: int, pixels: Tensor) -> Tensor:
    return pixels[:, torch.randperm(64, generator=rng(task))]


def train_mask(weights: list[Tensor], x: Tensor, labels: Tensor, task: int) -> list[Tensor]:
    scores = [score_init(*shape, rng(100 * task + index)) for index, shape in enumerate(SHAPES)]
    optimiser = torch.optim.RMSprop(scores, lr=1e-3)
    for step in range(STEPS):
        chosen = torch.randint(len(x), (BATCH,), generator=rng(step))
        used = [(w * threshold_mask(s)).requires_grad_() for w, s in zip(weights, scores, strict=True)]
        h = x[chosen]
        for v in used[:-1]:
            h = (h @ v).relu()
        of_used = torch.autograd.grad(nn.functional.cross_entropy(h @ used[-1], labels[chosen]), used)
        for score, gradient, weight in zip(scores, of_used, weights, strict=True):
            score.grad = threshold_score_gradient(mask_gradient(gradient, weight))
        optimiser.step()
    return [threshold_mask(score) for score in scores]


@pytest.fixture(scope="module")
def learned() -> tuple[list[Tensor], MaskTable]:
    """Frozen weights, and the masks of five tasks: the digits with their pixels permuted."""
    data = load_dataset("digits")
    weights = [signed_kaiming_constant(*shape, rng(index)) for index, shape in enumerate(SHAPES)]
    table = MaskTable(SHAPES, 5)
    for task in range(5):
        x = permuted(task, data.normalise(data.train_images))
        table.append(train_mask(weights, x, data.train_labels, task))
    return weights, table


def questions(images_each: int) -> tuple[Tensor, Tensor]:
    """Batches of test images of every task, (A, B, I), and the tasks, (A,)."""
    data = load_dataset("digits")
    x = data.normalise(data.test_images)
    whole = len(x) // images_each * images_each
    batches = [permuted(task, x[:whole]).split(images_each) for task in range(5)]
    tasks = [task for task in range(5) for _ in batches[task]]
    return torch.stack([batch for of_task in batches for batch in of_task]), torch.tensor(tasks)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("algorithm", [one_shot, binary])
def test_the_task_is_found(learned: tuple[list[Tensor], MaskTable], algorithm: Algorithm, objective: str) -> None:
    weights, table = learned
    superposition = Superposition(weights, table, OBJECTIVES[objective], 10)
    x, tasks = questions(images_each=16)
    assert (algorithm(superposition, x) == tasks).float().mean() > 0.9


def test_the_masks_have_learned_their_tasks(learned: tuple[list[Tensor], MaskTable]) -> None:
    weights, table = learned
    data = load_dataset("digits")
    for task in range(5):
        x = permuted(task, data.normalise(data.test_images))
        logits = Superposition(weights, table, entropy, 10).logits(x, torch.eye(5)[task])
        assert (logits.argmax(-1) == data.test_labels).float().mean() > 0.8


def test_gradient_descent_finds_it_too(learned: tuple[list[Tensor], MaskTable]) -> None:
    weights, table = learned
    x, tasks = questions(images_each=16)
    found = gradient_descent(Superposition(weights, table, entropy, 10), x, lr=0.05, num_steps=5)
    assert (found == tasks).float().mean() > 0.9


def test_tasks_that_nobody_learned_stand_out_less(learned: tuple[list[Tensor], MaskTable]) -> None:
    """The five that were learned are known at the paper's eps; a larger one, for so few masks, parts all."""
    weights, table = learned
    x, _ = questions(images_each=128)
    unknown = torch.stack([x[0][:, torch.randperm(64, generator=rng(task))] for task in range(70, 80)])
    of_known, of_unknown = (Superposition(weights, table, entropy, 10).gradient(batches) for batches in (x, unknown))
    assert not is_new_task(of_known, 5).any()
    assert is_new_task(of_unknown, 5).any()
    assert not is_new_task(of_known, 5, eps=0.4).any()
    assert is_new_task(of_unknown, 5, eps=0.4).all()


def test_one_step_of_descent_is_one_shot() -> None:
    superposition, x = make(), images(6)
    assert torch.equal(gradient_descent(superposition, x, lr=1e-3, num_steps=1), one_shot(superposition, x))


def test_descent_follows_its_equation() -> None:
    superposition, x = make(), images()
    alpha = torch.full((NUM_TASKS,), 1 / NUM_TASKS)
    for _ in range(3):
        alpha = (alpha - 0.03 * superposition.gradient(x, alpha)).clamp(min=0)
        alpha = alpha / alpha.sum()
    assert gradient_descent(superposition, x, lr=0.03, num_steps=3) == alpha.argmax()


@pytest.mark.parametrize("algorithm", [one_shot, binary])
def test_a_single_question_is_one_of_many(algorithm: Algorithm) -> None:
    superposition, x = make(), images(2, 3)
    answers = algorithm(superposition, x)
    assert answers.shape == (2, 3)
    for place in ((0, 0), (1, 2)):
        assert algorithm(superposition, x[place]).item() == answers[place].item()


@pytest.mark.parametrize("num_tasks", [1, 2, 3, 5, 8, 100])
def test_halving_ends_with_the_lowest_after_log2_rounds(num_tasks: int) -> None:
    gradients = torch.stack([torch.randperm(num_tasks, generator=rng(index)) for index in range(6)]).float()
    told = Told(gradients)
    assert torch.equal(binary(told, torch.zeros(6, 1, 1)), gradients.argmin(-1))
    assert len(told.asked) == math.ceil(math.log2(num_tasks))
    assert all(-(-more // 2) == fewer for more, fewer in zip(told.asked, told.asked[1:], strict=False))


def test_without_ties_halving_is_the_median_s() -> None:
    """As the paper's code: those at or below the median of the ones that are left, the lower of two in the middle."""
    superposition, x = make(), images()
    left = torch.arange(NUM_TASKS)
    while len(left) > 1:
        gradient = superposition.gradient(x, torch.full((len(left),), 1 / len(left)), left)
        left = left[gradient <= gradient.median()]
    assert binary(superposition, x) == left


def test_halving_ends_even_where_all_are_equal() -> None:
    assert binary(Told(torch.zeros(1, 9)), torch.zeros(1, 1, 1)).item() == 0
    assert binary(Told(torch.tensor([[1.0, 0, 0, 0, 1]])), torch.zeros(1, 1, 1)).item() == 1


def test_a_task_is_new_where_no_gradient_stands_out() -> None:
    assert is_new_task(torch.zeros(8), 8)
    # nu_0 = e^a / (e^a + 7) is 1.125 / 8 where e^a = 7 * 1.125 / 6.875
    boundary = math.log(7 * 1.125 / 6.875)
    for shift, expected in ((-1e-3, True), (1e-3, False)):
        gradient = torch.tensor([-(boundary + shift), *[0.0] * 7])
        assert is_new_task(gradient, 8).item() is expected


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="k=5 masks have 5 gradients; there are 4"):
        is_new_task(torch.zeros(4), 5)
    with pytest.raises(ValueError, match=r"lr=0\.0 and num_steps=3 must be positive"):
        gradient_descent(make(), images(), lr=0.0, num_steps=3)
