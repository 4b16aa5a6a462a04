import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import affine_transform
from torchvision.transforms import functional

from psp_core import Trial, TrialConfig, load_dataset, train
from psp_core.datasets import DATASETS, Sizes
from psp_core.held_out import task_samples
from psp_core.methods.base import num_outputs
from psp_core.streams import STREAMS, Incremental, Permuting, Rotating, Split, Turned
from psp_core.trial import replace
from tests.contracts import StreamContract, inheriting, rng


def sizes(shape: tuple[int, int, int]) -> Sizes:
    """Of images of another shape."""
    return dataclasses.replace(DATASETS["digits"].sizes, shape=shape)


def described(trial: Trial, task: int) -> torch.Tensor:
    return trial.stream.tasks(trial.dataset.sizes, trial.num_tasks, trial.seed).describe(task)


class TestPermuting(StreamContract):
    stream = Permuting()

    def test_every_task_is_a_permutation(self) -> None:
        for task in range(5):
            assert torch.equal(self.make(0).describe(task).sort().values, torch.arange(self.num_inputs))

    def test_task_0_is_the_identity_unless_asked_otherwise(self) -> None:
        images = torch.randint(256, (1, 3, self.num_inputs), generator=rng()).to(torch.uint8)
        stream = self.make(0)
        assert torch.equal(stream.apply(images, stream.describe(0)[None]), images)
        permuted = Permuting(permute_first=True).tasks(sizes((1, 4, 4)), 5, 0)
        assert not torch.equal(permuted.describe(0), torch.arange(self.num_inputs))
        assert torch.equal(permuted.describe(1), stream.describe(1))

    def test_pixel_i_of_the_task_is_pixel_p_i_of_the_data(self) -> None:
        images, p = torch.arange(self.num_inputs)[None, None], self.make(0).describe(3)
        assert torch.equal(self.make(0).apply(images, p[None])[0, 0], p)


class TestRotating(StreamContract):
    stream = Rotating()

    def test_a_turn_is_shared_among_the_tasks(self) -> None:
        stream = Rotating().tasks(sizes((1, 4, 4)), 10, seed=0)
        assert [math.degrees(stream.describe(task)) for task in range(10)] == pytest.approx(list(range(0, 360, 36)))
        assert math.degrees(stream.describe(3, 0.5)) == pytest.approx(3.5 * 36)

    def test_no_angle_leaves_an_image_as_it_is(self) -> None:
        images = torch.randint(256, (1, 3, 16), generator=rng()).to(torch.uint8)
        stream = self.make(0)
        torch.testing.assert_close(stream.apply(images, stream.describe(0)[None]), images.float(), atol=1e-3, rtol=0)

    def test_a_quarter_turn_is_counter_clockwise(self) -> None:
        image = torch.arange(16.0)
        stream = Rotating().tasks(sizes((1, 4, 4)), 4, seed=0)
        turned = stream.apply(image[None, None], stream.describe(1)[None]).view(4, 4)
        torch.testing.assert_close(turned, torch.rot90(image.view(4, 4)), atol=1e-3, rtol=0)

    @pytest.mark.parametrize("shape", [(1, 7, 7), (3, 6, 6), (1, 5, 8)])
    def test_any_angle_is_scipy_s_bilinear_rotation(self, shape: tuple[int, int, int]) -> None:
        channels, height, width = shape
        image = torch.rand(shape, generator=rng())
        stream = Rotating().tasks(sizes(shape), 10, seed=0)
        for task in (1, 4, 8):
            angle = stream.describe(task, 0.3)
            turned = stream.apply(image.view(1, 1, -1), angle[None]).view(shape)
            cos, sin = math.cos(angle), math.sin(angle)
            # scipy's matrix goes from output to input coordinates, (row, column).
            matrix = np.array([[cos, sin], [-sin, cos]])
            centre = np.array([(height - 1) / 2, (width - 1) / 2])
            for c in range(channels):
                expected = affine_transform(
                    image[c].numpy(), matrix, centre - matrix @ centre, order=1, mode="grid-constant"
                )
                torch.testing.assert_close(turned[c], torch.from_numpy(expected), atol=1e-4, rtol=0)


class TestTurned(StreamContract):
    stream = Turned()

    def test_task_k_is_turned_by_10_k_degrees_whatever_the_number_of_tasks(self) -> None:
        for num_tasks in (2, 36):
            config = TrialConfig(dataset="digits", stream="turned", num_tasks=num_tasks)
            tasks = config.stream.tasks(config.dataset.sizes, num_tasks, config.seed)
            angles = [math.degrees(tasks.describe(task, 0.9)) for task in range(num_tasks)]
            assert angles == pytest.approx([10.0 * task for task in range(num_tasks)], abs=1e-4)
            assert config.is_nested

    def test_tasks_9_18_and_27_are_exact_quarter_turns(self) -> None:
        image, stream = torch.arange(16.0), self.make(0)
        for quarters, task in enumerate((0, 9, 18, 27)):
            turned = stream.apply(image[None, None], stream.describe(task)[None]).view(4, 4)
            torch.testing.assert_close(turned, torch.rot90(image.view(4, 4), quarters), atol=1e-3, rtol=0)

    def test_an_image_is_what_pil_turns_it_to(self) -> None:
        """The authors' tool, which rounds to whole grey levels, inside the circle that never leaves the image."""
        image = torch.rand(15, 15, generator=rng()).mul(255).round()
        stream = Turned().tasks(sizes((1, 15, 15)), 36, seed=0)
        rows, columns = torch.meshgrid(torch.arange(15.0) - 7, torch.arange(15.0) - 7, indexing="ij")
        inside = rows**2 + columns**2 <= 6**2
        for task in (1, 5, 20):
            turned = stream.apply(image.view(1, 1, -1), stream.describe(task)[None]).view(15, 15)
            by_pil = Image.fromarray(image.byte().numpy()).rotate(10 * task, resample=Image.Resampling.BILINEAR)
            expected = torch.from_numpy(np.array(by_pil)).float()
            torch.testing.assert_close(turned[inside], expected[inside], atol=1.0, rtol=0)


class TestTurnedByNearestNeighbour(StreamContract):
    stream = Turned(interpolation="nearest")

    @pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (1, 15, 15), (3, 32, 32), (1, 5, 9)])
    def test_every_angle_is_pillow_s_to_the_bit(self, shape: tuple[int, int, int]) -> None:
        """As the authors turn images: uint8, Image.rotate, which took the nearest pixel when nothing was said."""
        stream = self.stream.tasks(sizes(shape), 36, seed=0)
        images = torch.randint(1, 256, (2, 5, *shape), generator=rng()).to(torch.uint8)  # 0 is what is outside alone
        for task in range(36):
            descriptions = stream.describe(task).expand(2, -1)
            packed = stream.apply(images.flatten(2), descriptions)
            alone = stream.apply(images[:1].flatten(2), descriptions[:1])
            assert packed.dtype == torch.uint8
            assert torch.equal(alone, packed[:1])
            for image, turned in zip(images.flatten(0, 1), packed.flatten(0, 1), strict=True):
                channels = [
                    np.array(Image.fromarray(c.numpy()).rotate(10 * task, resample=Image.Resampling.NEAREST))
                    for c in image
                ]
                assert torch.equal(turned.view(shape), torch.from_numpy(np.stack(channels)))

    def test_mnist_is_what_torchvision_turns_it_to(self, mnist_root: Path) -> None:
        data, stream = load_dataset("mnist", mnist_root), self.stream.tasks(DATASETS["mnist"].sizes, 36, seed=0)
        images = data.test_images[:20]
        for task in (1, 7, 13, 31):
            turned = stream.apply(images[None], stream.describe(task)[None])[0]
            for image, ours in zip(images, turned, strict=True):
                theirs = functional.rotate(Image.fromarray(image.view(28, 28).numpy()), 10 * task)
                assert torch.equal(ours.view(28, 28), torch.from_numpy(np.array(theirs)))

    def test_a_trial_takes_what_its_setting_says(self) -> None:
        config = TrialConfig(dataset="digits", stream="turned", num_tasks=2)
        assert described(config, 1).dim() == 0
        nearest = replace(config, interpolation="nearest", width=4, steps_per_task=3, batch_size=8)
        assert described(nearest, 1).shape == (64,)
        packed = train([nearest, replace(nearest, seed=1)], progress=False)
        assert all(result.accuracy[1].isfinite().all() for result in packed)


class TestSplit(StreamContract):
    stream = Split(classes_per_task=2, shuffle=True)

    def test_tasks_have_disjoint_classes_in_order_unless_shuffled(self) -> None:
        stream = Split(classes_per_task=3).tasks(DATASETS["digits"].sizes, 3, seed=0)
        assert [stream.classes(task).tolist() for task in range(3)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
        shuffled = torch.cat([self.make(1).describe(task) for task in range(5)])
        assert sorted(shuffled.tolist()) == list(range(10))

    def test_a_task_s_samples_are_those_of_its_classes(self) -> None:
        labels = load_dataset("digits").test_labels
        stream, every = self.make(0), torch.arange(len(labels))
        found = [task_samples(stream, task, labels, every) for task in range(5)]
        assert torch.equal(torch.cat(found).sort().values, every)
        for task, samples in enumerate(found):
            assert set(labels[samples].tolist()) == set(stream.classes(task).tolist())

    def test_kept_labels_are_the_data_set_s_and_the_network_has_an_output_for_each_class(self) -> None:
        config = TrialConfig(dataset="digits", stream="split", classes_per_task=2, num_tasks=5, keep_labels=True)
        stream, labels = config.stream.tasks(config.dataset.sizes, 5, seed=0), torch.tensor([[4, 5, 5, 4]])
        assert torch.equal(stream.relabel(labels, stream.describe(2)[None]), labels)
        assert stream.classes(2).tolist() == [4, 5]
        assert num_outputs(config) == 10
        assert config.method.layers(config)[-1].outputs == 10


class TestIncremental(StreamContract):
    stream = Incremental()
    dataset = "cifar-10-100"

    def test_cifar_10_comes_first_then_cifar_100_from_its_tenth_class_on(self) -> None:
        classes = [self.make(0).classes(task).tolist() for task in range(5)]
        assert classes[0] == list(range(10))
        for task in range(1, 5):
            assert classes[task] == list(range(10 + 10 * task, 20 + 10 * task))  # CIFAR-100's label, plus 10
        last = self.stream.tasks(DATASETS["cifar-10-100"].sizes, 10, seed=0)
        assert max(last.classes(9).tolist()) == DATASETS["cifar-10-100"].sizes.num_classes - 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes_per_task": 2}, "does not apply to stream='permuting'"),
        ({"shuffle_classes": True}, "does not apply to stream='permuting'"),
        (
            {"keep_labels": True},
            "keep_labels=True does not apply to stream='permuting'; leave it out, or use 'split'",
        ),
        ({"stream": "split"}, "needs classes_per_task"),
        (
            {"dataset": "cifar-10-100", "stream": "incremental", "num_tasks": 2, "keep_labels": True},
            "keep_labels=True does not",
        ),
        ({"stream": "split", "classes_per_task": 5, "num_tasks": 3}, "need 15 classes; dataset='digits' has 10"),
        ({"stream": "incremental", "num_tasks": 2}, "made of dataset='cifar-10-100'"),
        (
            {"dataset": "cifar-10-100", "stream": "incremental", "num_tasks": 2, "classes_per_task": 10},
            "classes_per_task=10 does not apply to stream='incremental'",
        ),
        ({"stream": "rotating", "classes_per_task": 2}, "does not apply to stream='rotating'"),
        ({"stream": "rotating", "permute_first": True}, "does not apply to stream='rotating'"),
        ({"interpolation": "nearest"}, "interpolation='nearest' does not apply to stream='permuting'"),
        ({"stream": "rotating", "interpolation": "nearest"}, "does not apply to stream='rotating'"),
        ({"stream": "turned", "num_tasks": 2, "interpolation": "cubic"}, "interpolation='cubic' is not known"),
        ({"stream": "turned", "num_tasks": 37}, "num_tasks=37: stream='turned' has 36 at most"),
        ({"stream": "turned", "num_tasks": 2, "classes_per_task": 2}, "does not apply to stream='turned'"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrialConfig(**{"dataset": "digits", **settings})


def test_every_stream_has_its_tests() -> None:
    """In any file of tests."""
    assert set(STREAMS) <= {inherits.stream.name for inherits in inheriting(StreamContract)}
