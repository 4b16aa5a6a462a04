"""What every data set must do: a new one inherits the contract and adds its own facts."""

from typing import ClassVar

import torch

from psp_core import Trial, TrialConfig
from psp_core.datasets import DATASETS, Data, Dataset, ensure_dataset, load_dataset, where_is
from psp_core.training import train


class DataContract:
    """Inherit, and name the data set; its files have to be there."""

    data: ClassVar[type[Data]]

    def loaded(self) -> Dataset:
        return load_dataset(self.data.name)

    def trial(self) -> Trial:
        return TrialConfig(dataset=self.data.name, width=8, depth=1, num_tasks=2, steps_per_task=4, batch_size=16)

    def test_is_registered_under_its_name(self) -> None:
        assert DATASETS[self.data.name] is self.data

    def test_it_says_where_it_is_and_is_there(self) -> None:
        assert where_is(self.data.name).startswith(f"{self.data.name}: ")
        ensure_dataset(self.data.name)

    def test_it_has_the_sizes_it_says(self) -> None:
        sizes, dataset = self.data.sizes, self.loaded()
        assert dataset.name == self.data.name
        assert dataset.shape == sizes.shape
        assert tuple(dataset.train_images.shape) == (sizes.num_train, sizes.num_inputs)
        assert tuple(dataset.test_images.shape) == (sizes.num_test, sizes.num_inputs)
        assert len(dataset.train_labels) == sizes.num_train
        assert len(dataset.test_labels) == sizes.num_test

    def test_every_class_is_in_both_parts(self) -> None:
        dataset = self.loaded()
        for labels in (dataset.train_labels, dataset.test_labels):
            assert labels.dtype == torch.int64
            assert torch.equal(labels.unique(), torch.arange(self.data.sizes.num_classes))

    def test_pixels_are_whole_and_normalised_to_about_zero_and_one(self) -> None:
        dataset, some = self.loaded(), torch.arange(min(1000, self.data.sizes.num_train))
        pixels = dataset.train_images[some]
        assert pixels.dtype == torch.uint8
        assert pixels.max() <= dataset.scale
        inputs = dataset.normalise(pixels)
        assert abs(inputs.mean()) < 0.5
        assert 0.5 < inputs.std() < 2

    def test_it_is_read_once(self) -> None:
        assert self.loaded() is self.loaded()

    def test_a_trial_of_it_is_trained_and_measured(self) -> None:
        (result,) = train([self.trial()], progress=False)
        assert result.accuracy[-1].isfinite().all()
