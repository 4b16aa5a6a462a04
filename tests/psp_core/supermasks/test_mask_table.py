import pytest
import torch
from torch import Tensor

from psp_core.supermasks import MaskTable
from psp_core.supermasks import mask_table as module
from tests.contracts import rng
from tests.memory import peak_bytes

SHAPES = [(13, 7), (7, 8), (8, 3)]


def random_masks(num_tasks: int) -> list[list[Tensor]]:
    of_layers = [torch.randint(2, (num_tasks, *shape), generator=rng(*shape[:1])).float() for shape in SHAPES]
    return [list(masks) for masks in zip(*of_layers, strict=True)]


def filled(num_tasks: int, capacity: int = 20) -> MaskTable:
    table = MaskTable(SHAPES, capacity)
    for task, masks in enumerate(random_masks(num_tasks)):
        assert table.append(masks) == task
    return table


def tensors(*leading: int) -> list[Tensor]:
    return [torch.randn(*leading, *shape, generator=rng(index)) for index, shape in enumerate(SHAPES)]


def dense_combination(alpha: Tensor, masks: list[list[Tensor]]) -> list[Tensor]:
    return [torch.einsum("...k,kio->...io", alpha, torch.stack(layer)) for layer in zip(*masks, strict=True)]


def dense_products(given: list[Tensor], masks: list[list[Tensor]]) -> Tensor:
    layers = [torch.stack(layer) for layer in zip(*masks, strict=True)]
    return sum(torch.einsum("...io,kio->...k", t, layer) for t, layer in zip(given, layers, strict=True))


@pytest.fixture(params=[1, 30, 64 * 5, None], ids="chunk={}".format)
def _chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one weight, of some, of all: results must not depend on them."""
    if request.param:
        monkeypatch.setitem(module.CHUNK, "cpu", request.param)


def test_masks_are_had_again() -> None:
    table = filled(9)
    assert len(table) == 9
    for task, masks in enumerate(random_masks(9)):
        for mine, mask in zip(table.mask(task), masks, strict=True):
            assert torch.equal(mine, mask)


def test_a_mask_costs_an_eighth_of_a_byte_a_weight() -> None:
    table = filled(9)
    assert table.bytes_per_task == 12 + 7 + 3
    assert table.num_bytes == 9 * table.bytes_per_task


@pytest.mark.usefixtures("_chunk")
@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_combinations_equal_dense_ones(leading: tuple[int, ...]) -> None:
    alpha = torch.randn(*leading, 11, generator=rng())
    for mine, dense in zip(filled(11).combination(alpha), dense_combination(alpha, random_masks(11)), strict=True):
        torch.testing.assert_close(mine, dense)


@pytest.mark.usefixtures("_chunk")
@pytest.mark.parametrize("leading", [(), (4,), (2, 3)])
def test_inner_products_equal_dense_ones(leading: tuple[int, ...]) -> None:
    given = tensors(*leading)
    torch.testing.assert_close(filled(11).inner_products(given), dense_products(given, random_masks(11)))


@pytest.mark.usefixtures("_chunk")
def test_some_tasks_alone_are_some_of_all() -> None:
    table, tasks = filled(11), torch.tensor([7, 2, 10])
    given = tensors(4)
    torch.testing.assert_close(table.inner_products(given, tasks), table.inner_products(given)[:, tasks])
    alpha = torch.zeros(11)
    alpha[tasks] = torch.tensor([0.5, -1.0, 2.0])
    for some, all_tasks in zip(table.combination(alpha[tasks], tasks), table.combination(alpha), strict=True):
        torch.testing.assert_close(some, all_tasks)


def test_the_mean_is_the_uniform_combination() -> None:
    table = filled(11)
    for mine, combined in zip(table.mean(), table.combination(torch.full((11,), 1 / 11)), strict=True):
        torch.testing.assert_close(mine, combined)


def test_a_store_goes_on_from_its_state() -> None:
    first = filled(5)
    second = filled(3)
    second.load_state_dict(first.state_dict())
    for table in (first, second):
        table.append(random_masks(6)[-1])
    assert torch.equal(first.state_dict()["bits"], second.state_dict()["bits"])
    for one, other in zip(first.mean(), second.mean(), strict=True):
        assert torch.equal(one, other)


def test_a_mask_that_is_replaced_leaves_nothing_behind() -> None:
    table, others = filled(5), random_masks(7)
    table.replace(2, others[6])
    for mine, other in zip(table.mask(2), others[6], strict=True):
        assert torch.equal(mine, other)
    in_place = [others[task] for task in (0, 1, 6, 3, 4)]
    for mine, of_layer in zip(table.mean(), zip(*in_place, strict=True), strict=True):
        torch.testing.assert_close(mine, torch.stack(of_layer).mean(0))


def test_what_does_not_fit_is_refused() -> None:
    table = filled(2, capacity=2)
    with pytest.raises(ValueError, match="capacity=2 masks are stored already"):
        table.append(random_masks(1)[0])
    with pytest.raises(ValueError, match=r"masks of shapes \[\(1, 2\)\] do not fit"):
        filled(1).append([torch.ones(1, 2)])
    with pytest.raises(ValueError, match="do not fit a table of 2 masks of 22 bytes"):
        table.load_state_dict(filled(3).state_dict())
    with pytest.raises(ValueError, match="alpha has 3 coefficients for 2 tasks"):
        table.combination(torch.ones(3))
    with pytest.raises(IndexError, match=r"task=2 must lie in 0\.\.1"):
        table.mask(2)


def test_passes_over_many_masks_need_little_memory() -> None:
    """Of 2500 masks of 10,000 weights, 100 MB as floats, no more than 5 MB are floats at once."""
    shape, num_tasks = (100, 100), 2500
    table = MaskTable([shape], num_tasks)
    bits = torch.randint(256, (num_tasks, table.bytes_per_task), generator=rng()).to(torch.uint8)
    table.load_state_dict({"bits": bits})
    alpha = torch.full((num_tasks,), 1 / num_tasks)
    assert peak_bytes(lambda: table.inner_products(table.combination(alpha))) < 5e6
