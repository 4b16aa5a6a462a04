import torch

from psp_core.randomness import different, generator


def draw(*name: object) -> list[float]:
    return torch.rand(4, generator=generator(*name)).tolist()  # type: ignore[arg-type]


def test_a_name_gives_the_same_numbers_always_and_another_name_others() -> None:
    names = [
        (0, "weights", 0),
        (1, "weights", 0),
        (0, "contexts", 0),
        (0, "weights", 1),
        (0, "weights"),
        (0, "weights", 0, 0),
    ]
    drawn = [draw(*name) for name in names]
    assert drawn == [draw(*name) for name in names]
    assert len({tuple(numbers) for numbers in drawn}) == len(names)


def test_global_randomness_is_not_touched() -> None:
    before = torch.get_rng_state()
    draw(0, "weights")
    assert torch.equal(torch.get_rng_state(), before)


def test_what_a_seed_decides_is_drawn_once() -> None:
    assert different([4, 2, 4, 0]) == ([4, 2, 0], [0, 1, 0, 2])
