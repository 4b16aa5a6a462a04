"""PackNet, beside a plain loop over torch's own modules."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.methods.superposed import build_model
from psp_core.protect.packnet import FREE, PackNet
from psp_core.training import PackTraining, train
from psp_core.trial import replace
from psp_core.visits import batch_order
from tests.conftest import in_float64, tasks_of
from tests.protections import CPU, HOSTS, TINY, ProtectionContract, trained, weights

ONE_CONTEXT = [host for host in HOSTS if host != "several contexts"]
PACKNET = TrialConfig(
    dataset="digits", context="none", protect={"name": "packnet", "pruned": 0.6}, width=12, num_tasks=3,
    steps_per_task=30, batch_size=16, optimiser="adam", lr=0.01,
)  # fmt: skip


class TestPackNet(ProtectionContract):
    """Its strengths are shares that are pruned. Of two weights of one size rounding would decide which one is."""

    protection = PackNet
    settings: ClassVar[dict[str, Any]] = {}
    strengths = (0.5, 0.75)

    def trial(self, host: str = "none", strength: float | None = None, **settings: Any) -> Trial:
        protect = {"name": "packnet", "pruned": strength or self.strengths[0]}
        return TrialConfig(**{**TINY, **HOSTS[host], "protect": protect, **settings})

    @pytest.mark.parametrize("host", ONE_CONTEXT)
    def test_the_first_task_is_trained_as_without(self, host: str) -> None:
        """But for what it prunes."""
        pruned, free = (
            PackTraining([replace(self.trial(host), **settings)], load_dataset("digits"), CPU)
            for settings in ({"protect_retraining": 0.0}, {"protect": "none"})
        )
        for training in (pruned, free):
            training.train_task()
        kept = weights(pruned) != 0
        assert torch.equal(weights(pruned)[kept], weights(free)[kept])
        assert 0 < kept.sum() < (weights(free) != 0).sum()

    @pytest.mark.usefixtures("float64")
    @pytest.mark.parametrize("host", ONE_CONTEXT)
    def test_packed_equals_solo_though_strengths_differ(self, host: str) -> None:
        super().test_packed_equals_solo_though_strengths_differ(host)

    def test_a_member_that_diverges_leaves_its_neighbours_as_they_are(self) -> None:
        with in_float64():
            fine, lost = self.trial(), self.trial(lr=1e300, seed=1)
            training = trained(fine, lost)
            assert training.diverged_at[1] is not None
            assert weights(training)[1].abs().sum() == 0
            torch.testing.assert_close(weights(training)[0], weights(trained(fine))[0])


def published(config: Trial) -> tuple[Tensor, nn.ModuleList, list[Tensor]]:
    """R, the network and the owner of each weight: train, prune each layer, retrain; biases are the first task's."""
    data, stream, model = load_dataset("digits"), tasks_of(config), build_model(config, CPU)
    net = nn.ModuleList(nn.utils.skip_init(nn.Linear, *layer.weight.shape) for layer in model.superposed_layers())
    for linear, layer in zip(net, model.superposed_layers(), strict=True):
        linear.weight.data, linear.bias.data = layer.weight.data.T.clone(), layer.bias.data.clone()
    owners = [torch.zeros_like(linear.weight, dtype=torch.int64) for linear in net]
    optimiser = torch.optim.Adam(net.parameters(), lr=config.lr)
    R = torch.full((config.num_tasks, config.num_tasks), float("nan"), dtype=torch.float64)
    for task in range(config.num_tasks):
        moving = [owner == 0 for owner in owners]
        for step, samples in enumerate(batch_order(config, len(data.train_labels), task)):
            if step == round(config.steps_per_task * 2 / 3):
                moving = [prune(linear, move, config.protect_pruned) for linear, move in zip(net, moving, strict=True)]
            x = data.normalise(data.train_images[samples][:, stream.describe(task)])
            net.zero_grad()
            F.cross_entropy(logits(net, x), data.train_labels[samples]).backward()
            before = [(linear.weight.detach().clone(), linear.bias.detach().clone()) for linear in net]
            for linear, move in zip(net, moving, strict=True):
                linear.weight.grad *= move
                linear.bias.grad *= not task
            optimiser.step()
            with torch.no_grad():
                for linear, move, (weight, bias) in zip(net, moving, before, strict=True):
                    linear.weight.copy_(torch.where(move, linear.weight, weight))
                    if task:
                        linear.bias.copy_(bias)
        for owner, move in zip(owners, moving, strict=True):
            owner[move] = task + 1
        for j in range(task + 1):
            used = [(owner > 0) & (owner <= j + 1) for owner in owners]
            x = data.normalise(data.test_images[:, stream.describe(j)])
            R[task, j] = (logits(net, x, used).argmax(dim=1) == data.test_labels).double().mean()
    return R, net, owners


def prune(linear: nn.Module, moving: Tensor, share: float) -> Tensor:
    """Set the smallest of a layer's moving weights to 0; the rest go on moving."""
    weight: Any = linear.weight
    sizes = weight.detach().abs()[moving]
    smallest = moving & (weight.detach().abs() <= sizes.kthvalue(round(share * len(sizes)))[0])
    weight.data[smallest] = 0
    return moving & ~smallest


def logits(net: nn.ModuleList, x: Tensor, used: list[Tensor] | None = None) -> Tensor:
    for index, linear in enumerate(net):
        x = F.linear(x.relu() if index else x, linear.weight * (used[index] if used else 1), linear.bias)
    return x


@pytest.mark.usefixtures("float64")
def test_it_is_what_a_plain_loop_gives() -> None:
    R, net, owners = published(PACKNET)
    training = trained(PACKNET)
    torch.testing.assert_close(training.results()[0].accuracy, R, equal_nan=True)
    networks = training.learner.networks  # type: ignore[attr-defined]
    owned = networks.views(training.learner.protected["owner"])  # type: ignore[attr-defined]
    for index, (linear, owner) in enumerate(zip(net, owners, strict=True)):
        torch.testing.assert_close(networks.parameters[f"layers.{index}.weight"][0], linear.weight.detach().T)
        assert torch.equal(owned[f"layers.{index}.weight"][0].long(), owner.T)
        assert (owned[f"layers.{index}.bias"] == 1).all()


@pytest.mark.parametrize(
    "optimiser",
    [
        {"optimiser": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01},
        {"optimiser": "adam", "lr": 0.01, "weight_decay": 0.01},
        {"optimiser": "rmsprop", "lr": 0.003, "momentum": 0.9, "weight_decay": 0.01},
    ],
    ids=lambda settings: settings["optimiser"],
)
def test_what_is_owned_does_not_move_and_what_is_free_is_zero_to_the_bit(optimiser: dict[str, Any]) -> None:
    training = PackTraining([replace(PACKNET, **optimiser)], load_dataset("digits"), CPU)
    for task in range(3):
        before = weights(training).clone()
        owner = training.learner.protected["owner"].clone()  # type: ignore[attr-defined]
        training.train_task()
        now, owner_now = weights(training), training.learner.protected["owner"]  # type: ignore[attr-defined]
        assert torch.equal(now[owner != FREE], before[owner != FREE])
        assert torch.equal(owner_now[owner != FREE], owner[owner != FREE])
        assert not now[owner_now == FREE].any()
        assert (now != before)[owner_now == task + 1].any()
    loss = training.results()[0].loss
    assert torch.equal(loss[1, 0], loss[0, 0])
    assert torch.equal(loss[2, :2], loss[1, :2])


@pytest.mark.parametrize("pruned", [0.25, 0.75])
def test_each_task_owns_its_share_of_each_layer_s_free_weights(pruned: float) -> None:
    training = trained(replace(PACKNET, protect_pruned=pruned))
    owned = training.learner.networks.views(training.learner.protected["owner"])  # type: ignore[attr-defined]
    for name in ("layers.0.weight", "layers.1.weight", "layers.2.weight"):
        free = owned[name].numel()
        for task in range(3):
            left = round(free * pruned)
            assert (owned[name] == task + 1).sum() == free - left
            free = left
        assert (owned[name] == FREE).sum() == free


def test_a_task_in_training_is_measured_with_all_that_it_trains() -> None:
    trial = replace(PACKNET, num_tasks=2, eval_every=10, eval_tasks="all")
    (measured,) = train([trial], progress=False)
    (plain,) = train([replace(trial, protect="none", num_tasks=1)], progress=False)
    assert measured.curve[0] == plain.curve[0]  # nothing is pruned by then
    of_first = {point.step: point.measured["loss"] for point in measured.curve if point.task == 0}
    assert of_first[30] == of_first[40] == of_first[60]


def test_an_owner_of_k_tasks_or_none_is_kept_in_few_bits() -> None:
    assert PackNet().kept_bytes(PACKNET, 1000) == (250, 0)  # 3 tasks and none: 2 bits
    assert PackNet().kept_bytes(replace(PACKNET, num_tasks=4), 1000) == (375, 0)
    (result,) = train([replace(PACKNET, steps_per_task=1)], progress=False)
    numbers = 64 * 12 + 12 + 12 * 12 + 12 + 12 * 10 + 10
    assert result.outcomes()["total_bytes"] == PACKNET.facts["answer_bytes"] == 4 * numbers + -(-numbers * 2 // 8)


def test_tasks_that_come_back_are_refused() -> None:
    with pytest.raises(ValueError, match="num_cycles=2 does not apply to protect='packnet'"):
        replace(PACKNET, num_cycles=2)
    with pytest.raises(ValueError, match=r"protect_pruned=1.0 must lie between 0 and 1, such as 0.75"):
        replace(PACKNET, protect_pruned=1)
