import math
from typing import Any

import pytest
import torch
from torch import Tensor

from psp_core.contexts import get_context
from psp_core.models import mlp
from psp_core.schedules import SCHEDULES, reschedule
from psp_core.trial import TrialConfig
from study.plan import trial_id
from tests.contracts import rng

SIZE, NUM = 12, 5


def drawn(context: str, num_contexts: int = NUM) -> Tensor:
    return get_context(context).sample(num_contexts, SIZE, rng())


def used(name: str, context: str, positions: list[float]) -> Tensor:
    return SCHEDULES[name]().contexts(drawn(context), torch.tensor(positions), rng(1))


def phasors(contexts: Tensor) -> Tensor:
    return torch.complex(*contexts.unbind(-2))


@pytest.mark.parametrize("name", SCHEDULES)
def test_contexts_keep_their_shape_and_are_those_of_whole_positions_in_between_unless_continuous(name: str) -> None:
    schedule = SCHEDULES[name]()
    found = used(name, "complex", [0, 0.5, 1, 1.75])
    assert found.shape == (4, *get_context("complex").shape(SIZE))
    assert torch.equal(found[0], found[1]) != schedule.is_continuous
    assert torch.equal(found[2], found[3]) != schedule.is_continuous


@pytest.mark.parametrize("name", SCHEDULES)
def test_nested_schedules_do_not_depend_on_how_many_contexts_there_are(name: str) -> None:
    """Of hundreds, because a temp mix has hardly more than a context's own phase before; at the end some wrap."""
    schedule, positions = SCHEDULES[name](), torch.tensor([0.0, 1.0, 404.5, 499.5])
    few, many = (schedule.contexts(drawn("complex", number), positions, rng(1)) for number in (500, 503))
    assert torch.equal(few, many) == schedule.is_nested


def test_by_task_is_what_was_drawn() -> None:
    assert torch.equal(used("task", "rotation", [0, 1, 2, 3, 4]), drawn("rotation"))


def test_local_mix_has_the_mean_phase_of_its_neighbours_and_wraps_at_the_number_in_use() -> None:
    phases = phasors(drawn("complex")).angle()
    mixed = phasors(used("local-mix", "complex", [0, 1, 2, 3, 4]))
    for c in range(NUM):
        mean = (phases[c - 1] + phases[c] + phases[(c + 1) % NUM]) / 3
        torch.testing.assert_close(mixed[c], torch.exp(1j * mean), atol=1e-5, rtol=0)


@pytest.mark.parametrize("context", ["binary", "complex"])
def test_products(context: str) -> None:
    contexts = drawn(context)
    values = phasors(contexts) if context == "complex" else contexts
    local, cumulative = (used(name, context, [0, 1, 2, 3, 4]) for name in ("local-product", "cumulative-product"))
    if context == "complex":
        local, cumulative = phasors(local), phasors(cumulative)
    for c in range(NUM):
        torch.testing.assert_close(local[c], values[c - 1] * values[c] * values[(c + 1) % NUM])
        torch.testing.assert_close(cumulative[c], values[: c + 1].prod(0))


def test_temp_mix_is_the_softmax_of_one_over_the_temperature() -> None:
    """Of 1000 contexts, so that late ones are mixed: phases by the formula with a softmax of logits."""
    contexts = drawn("complex", 1000)
    phases = phasors(contexts).angle().double()
    positions = [0, 49, 300, 999]
    found = phasors(SCHEDULES["temp-mix"]().contexts(contexts, torch.tensor([float(c) for c in positions]), rng(1)))
    for c, mixed in zip(positions, found, strict=True):
        logits = torch.zeros(1000, dtype=torch.float64)
        logits[c] = 1 / (c / 1000 + 1e-5)
        torch.testing.assert_close(mixed, torch.exp(1j * (logits.softmax(0) @ phases)).cfloat(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], phasors(contexts)[49], atol=1e-4, rtol=0)
    assert not torch.allclose(found[3], phasors(contexts)[999], atol=0.1)
    assert torch.equal(SCHEDULES["temp-mix"]().contexts(contexts[:1], torch.tensor([0.0]), rng()), contexts[:1])


def test_cosine_of_two_goes_from_the_first_to_the_second_along_the_whole_stream() -> None:
    contexts = drawn("binary", 4)
    found = SCHEDULES["cosine-of-two"]().contexts(contexts, torch.arange(4.0), rng())
    for c, mixed in enumerate(found):
        share = (math.cos(math.pi * c / 4) + 1) / 2
        torch.testing.assert_close(mixed, share * contexts[0] + (1 - share) * contexts[1])
    assert torch.equal(SCHEDULES["cosine-of-two"]().contexts(contexts[:1], torch.zeros(1), rng()), contexts[:1])


def test_what_was_renamed_is_taken_by_either_name_and_keeps_its_identity() -> None:
    """Names that the authors' code has for something else; trials stored under them are the same trials."""
    for before, now, known_id in (("cosine", "blend", "e2331fe93df86a24"), ("random", "redrawn", "66d3db3b8dae400f")):
        settings: dict[str, Any] = {"dataset": "digits", "context": "complex", "num_tasks": 3}
        old, new = (TrialConfig(**settings, schedule=name) for name in (before, now))
        assert old == new
        assert old.schedule == now
        assert trial_id(new) == known_id
        assert before not in SCHEDULES


def test_blend_goes_from_one_context_to_the_next_and_keeps_the_mean_square() -> None:
    contexts = get_context("complex").sample(2, 20_000, rng())
    start, half, end = SCHEDULES["blend"]().contexts(contexts, torch.tensor([0.0, 0.5, 1 - 1e-6]), rng())
    torch.testing.assert_close(start, contexts[0])
    torch.testing.assert_close(end, contexts[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(half, (contexts[0] + contexts[1]) * math.sqrt(0.5))
    assert half.square().sum(0).mean().item() == pytest.approx(1, abs=0.03)


def test_redrawn_takes_any_of_them_the_same_for_every_layer() -> None:
    first, again = (used("redrawn", "binary", [0, 1, 2, 3, 4]) for _ in range(2))
    assert torch.equal(first, again)
    contexts = drawn("binary")
    assert all((contexts == row).all(1).any() for row in first)


def test_one_power_drifts_as_the_position_does() -> None:
    first = phasors(drawn("complex"))[0].angle()
    found = phasors(used("one-power", "complex", [0, 0.5, 3]))
    for power, context in zip((1, 1.5, 4), found, strict=True):
        torch.testing.assert_close(context, torch.exp(1j * power * first), atol=1e-5, rtol=0)


def test_a_network_s_task_becomes_the_number_of_a_position() -> None:
    net = mlp(8, 1, get_context("complex"), in_features=SIZE, out_features=3, num_tasks=NUM, seed=0)
    before = [layer.contexts.clone() for layer in net.layers]
    reschedule(net, SCHEDULES["blend"](), 4, seed=0)
    for layer, contexts in zip(net.layers, before, strict=True):
        assert len(layer.contexts) == NUM * 4
        torch.testing.assert_close(layer.contexts[::4], contexts)
    assert net(torch.randn(2, SIZE, generator=rng()), task=NUM * 4 - 1).shape == (2, 3)


@pytest.mark.parametrize("name", SCHEDULES)
def test_nothing_is_computed_elsewhere_than_where_the_contexts_are(name: str) -> None:
    """On a device without numbers, what mixes devices raises as it would on a GPU."""
    contexts, positions = drawn("complex").to("meta"), torch.arange(NUM, device="meta")
    assert SCHEDULES[name]().contexts(contexts, positions, rng()).device.type == "meta"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "local-mix"}, "combines complex contexts; context='binary'"),
        ({"schedule": "blend", "context": "rotation"}, "combines diagonal contexts; context='rotation'"),
        ({"schedule": "redrawn", "context": "none"}, "do not apply to context='none'"),
        ({"contexts_per_task": 3}, "must divide steps_per_task=1000"),
        ({"contexts_per_task": 4, "heads": "per-task"}, "needs one context for each task"),
        ({"schedule": "redrawn", "learned_contexts": True}, "takes contexts by chance"),
        ({"schedule": "redrawm"}, "did you mean 'redrawn'"),
    ],
)
def test_what_cannot_be_combined_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrialConfig(**settings)
