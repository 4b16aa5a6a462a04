import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional as TF

from psp_core import TrialConfig, load_dataset, train
from psp_core.augmentation import AUGMENTATIONS, PADDING, augmented
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import whole_and_resumed
from tests.contracts import rng

CPU = torch.device("cpu")
DIGITS = TrialConfig(
    dataset="digits", width=8, num_tasks=2, steps_per_task=6, batch_size=10, lr=0.01, augmentation="crop-flip"
)
CHOSEN = [name for name in AUGMENTATIONS if name != "none"]


def by_torchvision(images_NI: Tensor, drawn_N3: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Image by image: what RandomCrop with padding and RandomHorizontalFlip do once they have drawn."""
    done = []
    for image, (row, column, flip) in zip(images_NI, drawn_N3.tolist(), strict=True):
        part = TF.crop(TF.pad(image.view(shape), [PADDING]), row, column, *shape[1:])
        done.append((TF.hflip(part) if flip else part).flatten())
    return torch.stack(done)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (2, 5, 9)])
def test_parts_are_torchvisions_to_the_bit(shape: tuple[int, int, int]) -> None:
    images_NI = torch.randint(1, 256, (200, torch.Size(shape).numel()), generator=rng(), dtype=torch.uint8)
    drawn_N3 = torch.cat(
        [torch.randint(9, (200, 2), generator=rng(1)), torch.randint(2, (200, 1), generator=rng(2))], 1
    ).to(torch.int8)
    found = augmented(images_NI, drawn_N3, shape)
    assert found.dtype == torch.uint8
    assert torch.equal(found, by_torchvision(images_NI, drawn_N3, shape))
    assert (found == 0).any()


def test_every_place_is_drawn_equally_often_and_half_are_flipped() -> None:
    config = replace(DIGITS, steps_per_task=300, batch_size=60)
    drawn_N3 = AUGMENTATIONS["crop-flip"]().draw(config, 0).view(-1, 3).long()
    number, places = len(drawn_N3), 2 * PADDING + 1
    of_pair = torch.bincount(drawn_N3[:, 0] * places + drawn_N3[:, 1], minlength=places**2)
    assert len(of_pair) == places**2
    spread = (number / places**2) ** 0.5  # of a count
    assert ((of_pair - number / places**2).abs() < 5 * spread).all()
    assert abs(drawn_N3[:, 2].sum().item() - number / 2) < 5 * (number / 4) ** 0.5
    flips = AUGMENTATIONS["flip"]().draw(config, 0)
    assert (flips[..., :2] == PADDING).all()
    assert torch.equal(flips[..., 2], AUGMENTATIONS["crop-flip"]().draw(config, 0)[..., 2])


def test_what_is_drawn_depends_on_the_seed_and_on_the_task_alone() -> None:
    augmentation, other = AUGMENTATIONS["crop-flip"](), replace(DIGITS, lr=0.1, width=4, num_tasks=1)
    assert torch.equal(augmentation.draw(DIGITS, 0), augmentation.draw(other, 0))
    assert not torch.equal(augmentation.draw(DIGITS, 0), augmentation.draw(DIGITS, 1))
    assert not torch.equal(augmentation.draw(DIGITS, 0), augmentation.draw(replace(DIGITS, seed=1), 0))


@pytest.mark.parametrize("name", CHOSEN)
def test_batches_are_the_usual_ones_augmented_before_their_task_is_made(name: str) -> None:
    """Of a permuting stream and of members of two seeds: the pixels of the task are those of the changed images."""
    data = load_dataset("digits")
    configs = [replace(DIGITS, seed=seed, augmentation=name) for seed in (3, 5)]
    training = PackTraining(configs, data, CPU)
    usual = PackTraining([replace(config, augmentation="none") for config in configs], data, CPU)
    for task in range(2):
        training.begin_task(task)
        usual.begin_task(task)
        for step in torch.arange(6)[:, None]:
            (x_EBI, labels_EB), (_, labels) = training._batch(step), usual._batch(step)
            assert torch.equal(labels_EB, labels)
            for e, config in enumerate(configs):
                images = data.train_images[training._samples_SEB[step.item(), e]]
                drawn = AUGMENTATIONS[name]().draw(config, task)[step.item()]
                images = by_torchvision(images, drawn, data.shape)
                assert torch.equal(x_EBI[e], data.normalise(images[:, training.tasks[e].describe(task)]))


def test_tests_are_not_augmented() -> None:
    """Without a step that moves anything, as masks by scores at such a rate, what is measured is the same."""
    still = replace(DIGITS, method="supsup", context="none", optimiser="sgd", lr=1e-30)
    with_it, without = train([still])[0], train([replace(still, augmentation="none")])[0]
    assert torch.equal(with_it.accuracy.nan_to_num(), without.accuracy.nan_to_num())
    assert torch.equal(with_it.loss.nan_to_num(), without.loss.nan_to_num())


def test_a_trial_goes_on_from_its_state_to_the_bit() -> None:
    configs = [replace(DIGITS, seed=seed, num_tasks=3) for seed in range(2)]
    whole, resumed = whole_and_resumed(configs, stop_after=1)
    assert torch.equal(whole.learner.networks.flat, resumed.learner.networks.flat)


def test_an_augmentation_is_named() -> None:
    with pytest.raises(ValueError, match="did you mean 'flip'"):
        replace(DIGITS, augmentation="flop")
