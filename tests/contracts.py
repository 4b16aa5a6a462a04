"""What every context and every stream must do: a new one inherits its contract and adds its own facts."""

import dataclasses
import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.contexts import CONTEXTS, Context, get_context
from psp_core.convolutions import SuperposedConv2d
from psp_core.datasets import DATASETS
from psp_core.layers import SuperposedLinear
from psp_core.models import SuperposedMLP, mlp
from psp_core.networks import Networks
from psp_core.randomness import generator
from psp_core.streams import STREAMS, Stream, Tasks
from psp_core.training import PackTraining
from psp_core.trial import replace
from study.plan import make_packs
from study.workers import this_machine

SIZE = 24
SEED = 11
CPU = torch.device("cpu")

Moments = tuple[Tensor, Tensor]


def rng(index: int = 0) -> torch.Generator:
    return generator(SEED, "test", index)


def inheriting(contract: type) -> Iterator[Any]:
    """Every class that inherits a contract, in whatever file of tests it stands."""
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("test_*.py")):
        if contract.__name__ in path.read_text():
            importlib.import_module(".".join(path.relative_to(folder.parent).with_suffix("").parts))
    found = [contract]
    for one in found:
        found += one.__subclasses__()
    yield from found[1:]


def crosstalk(context: Context, w: Tensor, x: Tensor, num_draws: int) -> Tensor:
    """Draws of w^T C(s)^-1 C(k) x, shape (D, 1); of complex contexts real and imaginary part, (D, 2)."""
    contexts = [context.sample(2, len(x), generator(draw, "crosstalk")) for draw in range(num_draws)]
    first, second = torch.stack(contexts, dim=1)
    batch = torch.stack([x, torch.zeros_like(x)])[None] if context.is_complex else x[None]
    bound = context.unbind(context.bind(batch.expand(num_draws, *batch.shape), first), second)
    return (bound @ w).flatten(1)


def assert_mean(values: Tensor, expected: float | Tensor) -> None:
    """The mean lies within 5 of its standard errors of what is expected; seeds are fixed, so it always will."""
    error = (values.double().mean() - expected).abs()
    assert error < 5 * values.double().std() / math.sqrt(len(values))


class ContextContract:
    """Inherit, and name the context. Say in `moments` what is known of its crosstalk, if its class does not."""

    context: ClassVar[Context]

    def moments(self, w: Tensor, x: Tensor) -> Moments | None:
        """Mean and second moment of one other model's crosstalk, w^T C(s)^-1 C(k) x for tasks 0 and 1 of 32 inputs."""
        if self.context.crosstalk == "elementwise":
            return torch.tensor(0.0), self.context.crosstalk_share * (w * x).square().sum()
        if self.context.crosstalk == "spread":
            return torch.tensor(0.0), w.square().sum() * x.square().sum() / len(x)
        return None

    def inputs(self, size: int = SIZE) -> Tensor:
        shape = (5, 2, size) if self.context.is_complex else (5, size)
        return torch.randn(shape, generator=rng(1))

    def test_is_registered_under_its_name(self) -> None:
        assert CONTEXTS[self.context.name] is type(self.context)

    def skip_unless_orthogonal(self) -> None:
        if not self.context.is_orthogonal:
            pytest.skip("holds for orthogonal contexts")

    def test_unbind_inverts_bind(self) -> None:
        self.skip_unless_orthogonal()
        x = self.inputs()
        for context in self.context.sample(3, SIZE, rng()):
            torch.testing.assert_close(self.context.unbind(self.context.bind(x, context), context), x)

    def test_unbind_is_the_adjoint_of_bind(self) -> None:
        """What carries gradients back through bind: <bind x, y> = <x, unbind y>."""
        x, y = self.inputs(), self.inputs().flip(0)
        for context in self.context.sample(3, SIZE, rng()):
            left, right = (self.context.bind(x, context) * y).sum(), (x * self.context.unbind(y, context)).sum()
            torch.testing.assert_close(left, right)

    def test_members_are_bound_each_with_its_own_context(self) -> None:
        x = torch.stack([self.inputs(), self.inputs().flip(0)])
        contexts = self.context.sample(2, SIZE, rng())
        for apply in (self.context.bind, self.context.unbind):
            alone = [apply(x[e], contexts[e]) for e in range(2)]
            torch.testing.assert_close(apply(x, contexts), torch.stack(alone))

    def test_members_of_a_vmap_are_bound_as_they_are_alone(self) -> None:
        x = torch.stack([self.inputs(), self.inputs().flip(0)])
        contexts = self.context.sample(2, SIZE, rng())
        for apply in (self.context.bind, self.context.unbind):
            torch.testing.assert_close(torch.func.vmap(apply)(x, contexts), apply(x, contexts))

    def test_gradients_go_back_through_unbind(self) -> None:
        x, (context,) = self.inputs().requires_grad_(), self.context.sample(1, SIZE, rng())
        g = self.inputs().flip(0)
        self.context.bind(x, context).backward(g)
        torch.testing.assert_close(x.grad, self.context.unbind(g, context))

    def test_it_is_mixable_where_bind_is_linear_in_the_context(self) -> None:
        """bind(x, a c + b d) = a bind(x, c) + b bind(x, d); where tasks share one context there is nothing to mix."""
        x, (first, second) = self.inputs(), self.context.sample(2, SIZE, rng())
        mixed = self.context.bind(x, 0.3 * first + 0.41 * second)
        linear = 0.3 * self.context.bind(x, first) + 0.41 * self.context.bind(x, second)
        assert torch.allclose(mixed, linear, atol=1e-5) == self.context.is_mixable

    def test_retrieved_weights_answer_as_bound_inputs_do(self) -> None:
        weights, x = SuperposedLinear(SIZE, 4, self.context, 1, seed=SEED).weight.detach(), self.inputs()
        (context,) = self.context.sample(1, SIZE, rng())
        retrieved, bound = self.context.retrieve(weights, context), self.context.bind(x, context)
        if self.context.is_complex:
            weights, x, retrieved, bound = (torch.complex(*v.unbind(1)) for v in (weights, x, retrieved, bound))
        torch.testing.assert_close(x @ retrieved, bound @ weights)

    def test_stored_weights_are_retrieved_again(self) -> None:
        self.skip_unless_orthogonal()
        weights = SuperposedLinear(SIZE, 4, self.context, 1, seed=SEED).weight.detach()
        for context in self.context.sample(3, SIZE, rng()):
            stored = self.context.store(weights, context)
            torch.testing.assert_close(self.context.retrieve(stored, context), weights)

    def test_contexts_of_one_binding_bind_alike(self) -> None:
        """So that any of them may stand for a pack; one that has no numbers of its own has neutral ones there."""
        x, weights = self.inputs(), SuperposedLinear(SIZE, 4, self.context, 1, seed=SEED).weight.detach()
        for other in (kind() for kind in CONTEXTS.values() if kind.binding and kind.binding == self.context.binding):
            if other.is_trivial:
                continue
            contexts = other.neutral(2, SIZE) if self.context.is_trivial else self.context.sample(2, SIZE, rng())
            assert contexts.shape == (2, *other.shape(SIZE))
            for name, numbers in {"bind": x, "unbind": x, "retrieve": weights, "store": weights}.items():
                mine, theirs = (getattr(one, name)(numbers, contexts[1]) for one in (self.context, other))
                assert torch.equal(mine, theirs)

    def test_has_the_shape_it_says(self) -> None:
        assert self.context.sample(3, SIZE, rng()).shape == (3, *self.context.shape(SIZE))

    def test_bind_keeps_lengths(self) -> None:
        self.skip_unless_orthogonal()
        x = self.inputs()
        for context in self.context.sample(3, SIZE, rng()):
            torch.testing.assert_close(self.context.bind(x, context).norm(), x.norm())

    def test_task_k_does_not_depend_on_the_number_of_tasks(self) -> None:
        few, many = (self.context.sample(num_tasks, SIZE, rng()) for num_tasks in (3, 7))
        assert torch.equal(few, many[:3])

    def test_is_drawn_from_the_generator_alone(self) -> None:
        assert torch.equal(self.context.sample(2, SIZE, rng()), self.context.sample(2, SIZE, rng()))
        if not self.context.is_trivial:
            assert not torch.equal(self.context.sample(2, SIZE, rng()), self.context.sample(2, SIZE, rng(1)))

    def test_tasks_differ(self) -> None:
        if self.context.is_trivial:
            pytest.skip("tasks share the same weights on purpose")
        first, second = self.context.sample(2, SIZE, rng())
        assert not torch.allclose(first, second)

    def test_there_are_as_many_different_contexts_as_it_says(self) -> None:
        most = self.context.max_tasks(SIZE)
        if most is None:
            pytest.skip("has no limit")
        contexts = self.context.sample(most, SIZE, rng()).flatten(1)
        distances = torch.cdist(contexts, contexts).fill_diagonal_(torch.inf)
        assert distances.min() > 0.1
        message = rf"context='{self.context.name}' has {most} different rows for {SIZE} inputs; {most + 1} tasks need"
        with pytest.raises(ValueError, match=message):
            self.context.sample(most + 1, SIZE, rng())

    def test_one_stored_task_is_retrieved_exactly(self) -> None:
        """The plain layer's weights, stored under c(k), give the plain layer's output back."""
        self.skip_unless_orthogonal()
        plain = SuperposedLinear(SIZE, 4, get_context("none"), 1, seed=SEED)
        layer = SuperposedLinear(SIZE, 4, self.context, 3, seed=SEED)
        x = torch.randn(5, SIZE, generator=rng(2))
        with torch.no_grad():
            if self.context.is_complex:
                real = torch.stack([plain.weight, torch.zeros(SIZE, 4)], dim=1)
                layer.weight.copy_(self.context.store(real, layer.contexts[1]))
                given = layer(torch.stack([x, torch.zeros_like(x)], dim=1), task=1)[:, 0]
            else:
                layer.weight.copy_(self.context.store(plain.weight, layer.contexts[1]))
                given = layer(x, task=1)
        torch.testing.assert_close(given, plain(x, task=0))

    def test_more_inputs_never_cost_fewer_bytes(self) -> None:
        small, large = self.context.bytes_per_task(8), self.context.bytes_per_task(64)
        assert 0 <= small <= large

    def test_crosstalk_has_the_mean_and_variance_it_says(self) -> None:
        w, x = torch.randn(2, 32, generator=rng(5))
        expected = self.moments(w, x)
        if expected is None:
            pytest.skip("neither `Context.crosstalk` nor `moments` says what its crosstalk is")
        eps = crosstalk(self.context, w, x, num_draws=4000)
        assert_mean(eps[:, 0], expected[0])
        assert_mean(eps.square().sum(1), expected[1])
        if self.context.is_complex:
            assert_mean(eps[:, 1], 0.0)

    def test_gradients_reach_each_number_of_what_can_be_trained(self) -> None:
        if not self.context.is_learnable:
            pytest.skip("each task has no numbers of its own that could be trained")
        x, (context,) = self.inputs(), self.context.sample(1, SIZE, rng())
        bound = self.context.bind(x, context.requires_grad_())
        weights = torch.randn(bound.shape, generator=rng(3))
        assert bound.requires_grad, "bind has no gradient for the context's numbers: say is_learnable = False"
        (gradient,) = torch.autograd.grad((bound * weights).sum(), context)
        assert gradient.isfinite().all()
        assert (gradient != 0).all(), "bind has no gradient for some of the context's numbers: say is_learnable = False"

    def test_each_draw_has_memory_of_its_own(self) -> None:
        """What is trained is written into it."""
        first, second = (self.context.sample(3, SIZE, rng()) for _ in range(2))
        before = second.clone()
        first[0] = 7
        assert torch.equal(second, before)
        assert torch.equal(first[1:], before[1:])
        assert first.dtype == torch.float32

    def networks(self, num_members: int) -> list[SuperposedMLP]:
        size = {"in_features": 6, "out_features": 4, "num_tasks": 2}
        return [mlp(8, 2, self.context, **size, seed=seed) for seed in range(num_members)]

    @pytest.mark.parametrize("num_members", [1, 3])
    def test_a_pack_has_the_gradients_that_its_networks_have_alone(self, num_members: int) -> None:
        """By hand, and of contexts that are trained by torch.func, against autograd."""
        x, labels = (
            torch.randn(num_members, 10, 6, generator=rng()),
            torch.randint(4, (num_members, 10), generator=rng()),
        )
        learned = {name for name, _ in self.networks(1)[0].named_buffers()} if self.context.is_learnable else set()
        packs = [Networks(self.networks(num_members), CPU, learned=names) for names in ([], learned)]
        for pack in packs:
            pack.begin(1)
            pack.gradients(x, labels)
        for e, network in enumerate(self.networks(num_members)):
            for name in learned:
                network.get_buffer(name).requires_grad_()
            nn.functional.cross_entropy(network(x[e], task=1), labels[e]).backward()
            for name, parameter in network.named_parameters():
                for pack in packs:
                    torch.testing.assert_close(pack.parameter_gradients[name][e], parameter.grad)
            for name in learned:
                gradient = network.get_buffer(name).grad
                assert gradient is not None
                torch.testing.assert_close(packs[1].learned_gradients[name][e], gradient[1])

    def trials(self, **settings: object) -> list[Trial]:
        """Of three seeds on 8x8 digits."""
        size = {"dataset": "digits", "width": 8, "depth": 1, "num_tasks": 2, "steps_per_task": 3, "batch_size": 16}
        config = TrialConfig(**{**size, "context": self.context, "lr": 0.01, **settings})
        return [replace(config, seed=seed) for seed in range(3)]

    def test_a_study_plans_trains_and_measures_it(self) -> None:
        trials = self.trials()
        packs = make_packs(trials)
        assert sorted(trial.seed for pack in packs for trial in pack.trials) == [trial.seed for trial in trials]
        assert all(pack.bytes("cpu") > 0 and pack.seconds(this_machine()) > 0 for pack in packs)
        training = PackTraining(trials, load_dataset("digits"), CPU)
        while not training.done:
            training.train_task()
        for result in training.results():
            assert result.accuracy[-1].isfinite().all()
            sizes = (8,) if self.context.is_of_units else (64, 8)
            assert result.context_bytes_per_task == sum(self.context.bytes_per_task(size) for size in sizes)

    def test_contexts_that_can_be_trained_are_in_every_member_and_others_are_refused(self) -> None:
        if not self.context.is_learnable:
            with pytest.raises(ValueError, match="learned_contexts=true does not apply to context"):
                self.trials(learned_contexts=True)
            return
        training = PackTraining(self.trials(learned_contexts=True), load_dataset("digits"), CPU)
        drawn = [
            {name: rows.clone() for name, rows in rows_of.items()} for rows_of in training.learner.networks.all_contexts
        ]
        training.train_task()
        for before, after in zip(drawn, training.learner.networks.all_contexts, strict=True):
            for name, rows in before.items():
                assert after[name].isfinite().all()
                assert not torch.equal(after[name][0], rows[0])  # of the task just trained
                assert torch.equal(after[name][1:], rows[1:])

    def test_a_convolution_takes_it_where_it_is_real(self) -> None:
        if self.context.is_complex:
            pytest.skip("convolutions are real")
        layer = SuperposedConv2d(2, 4, 3, self.context, 2, seed=SEED)
        layer(torch.randn(3, 2, 5, 5, generator=rng()), task=1).square().sum().backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.isfinite().all()


class StreamContract:
    """Inherit, and give the stream; its images are 4x4. Say which data set trials of it have, if no digits."""

    stream: ClassVar[Stream]
    dataset: ClassVar[str] = "digits"
    num_inputs = 16

    def make(self, seed: int) -> Tasks:
        """Its tasks of 4x4 images, which have the data set's classes."""
        sizes = dataclasses.replace(DATASETS[self.dataset].sizes, shape=(1, 4, 4))
        return self.stream.tasks(sizes, 5, seed)

    def trial(self, **more: object) -> Trial:
        size = {"num_tasks": 3, "width": 8, "depth": 1, "steps_per_task": 4, "batch_size": 16}
        return TrialConfig(**{**size, "dataset": self.dataset, "stream": self.stream, **more})

    def test_a_trial_of_it_is_planned_trained_and_measured(self) -> None:
        trials = [self.trial(seed=seed) for seed in range(2)]
        assert all(pack.seconds(this_machine()) > 0 for pack in make_packs(trials))
        if self.dataset != "digits":
            pytest.skip("trains on images that are not part of this project")
        training = PackTraining(trials, load_dataset("digits"), CPU)
        while not training.done:
            training.train_task()
        for result in training.results():
            assert result.accuracy[-1].isfinite().all()

    def test_tasks_are_the_same_whatever_their_number_if_it_says_so(self) -> None:
        """Trials that differ in their number of tasks alone are then trained as one."""
        few, many = (self.stream.tasks(DATASETS[self.dataset].sizes, number, 0) for number in (2, 4))
        equal = [torch.equal(few.describe(task), many.describe(task)) for task in range(2)]
        assert all(equal) == self.stream.is_nested
        assert self.trial().is_nested == self.stream.is_nested

    def test_a_task_depends_on_seed_and_task_alone(self) -> None:
        forwards = [self.make(3).describe(task) for task in range(4)]
        backwards = [self.make(3).describe(task) for task in reversed(range(4))]
        for one, other in zip(forwards, reversed(backwards), strict=True):
            assert torch.equal(one, other)
        assert torch.equal(self.make(3).describe(1), self.make(4).describe(1)) != self.stream.is_random
        assert not torch.equal(self.make(3).describe(1), self.make(3).describe(2))

    def test_images_whose_pixels_are_only_moved_are_those_that_are_said(self) -> None:
        tasks = self.make(3)
        description_E = torch.stack([tasks.describe(task) for task in range(2)])
        pixels_EI = tasks.pixels(description_E, self.num_inputs)
        if pixels_EI is None:
            return
        images = torch.randint(1, 256, (2, 5, self.num_inputs), generator=rng(), dtype=torch.uint8)
        moved = images.gather(2, pixels_EI.clamp(min=0)[:, None].expand_as(images))
        assert torch.equal(tasks.apply(images, description_E), moved * (pixels_EI >= 0)[:, None])

    def test_is_registered_under_its_name(self) -> None:
        assert STREAMS[self.stream.name] is type(self.stream)

    def test_only_a_continuous_stream_changes_within_a_task(self) -> None:
        tasks = self.make(3)
        assert torch.equal(tasks.describe(1), tasks.describe(1, 0.0))
        assert torch.equal(tasks.describe(1), tasks.describe(1, 0.5)) != self.stream.is_continuous

    def test_labels_are_the_places_of_a_task_s_classes(self) -> None:
        tasks, task = self.make(3), 1
        classes = tasks.classes(task)
        classes = torch.arange(10) if classes is None else classes
        labels = classes[torch.randint(len(classes), (1, 20), generator=rng())]
        relabelled = tasks.relabel(labels, tasks.describe(task)[None])
        assert torch.equal(classes[relabelled], labels)

    def test_weights_that_are_pulled_back_see_the_task_in_the_data_sets_images(self) -> None:
        tasks, images = self.make(3), torch.randn(1, 5, self.num_inputs, generator=rng())
        weights = torch.randn(2, self.num_inputs, 4, generator=rng(1))
        descriptions = torch.stack([tasks.describe(task) for task in (2, 1)])
        pulled_back = tasks.pull_back(weights, descriptions)
        if pulled_back is None:
            pytest.skip("the tasks of this stream are not linear in the pixels")
        expected = tasks.apply(images.expand(2, -1, -1), descriptions) @ weights
        torch.testing.assert_close(images @ pulled_back, expected)

    def test_members_do_not_see_each_other(self) -> None:
        members = [self.make(seed) for seed in range(3)]
        images = torch.randint(256, (3, 5, self.num_inputs), generator=rng()).to(torch.uint8)
        together = members[0].apply(images, torch.stack([tasks.describe(2) for tasks in members]))
        for e, tasks in enumerate(members):
            alone = tasks.apply(images[e : e + 1], tasks.describe(2)[None])
            assert torch.equal(together[e : e + 1], alone)
