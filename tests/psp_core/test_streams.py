import torch

from psp_core.streams import Permuting, Stream
from tests.contracts import StreamContract, rng


class TestPermuting(StreamContract):
    def make(self, seed: int) -> Stream:
        return Permuting(self.num_inputs, seed)

    def test_every_task_is_a_permutation(self) -> None:
        for task in range(5):
            assert torch.equal(self.make(0).describe(task).sort().values, torch.arange(self.num_inputs))

    def test_task_0_is_the_identity_unless_asked_otherwise(self) -> None:
        images = torch.randint(256, (1, 3, self.num_inputs), generator=rng())
        stream = self.make(0)
        assert torch.equal(stream.apply(images, stream.describe(0)[None]), images)
        permuted = Permuting(self.num_inputs, 0, permute_first=True)
        assert not torch.equal(permuted.describe(0), torch.arange(self.num_inputs))
        assert torch.equal(permuted.describe(1), stream.describe(1))

    def test_pixel_i_of_the_task_is_pixel_p_i_of_the_data(self) -> None:
        images, p = torch.arange(self.num_inputs)[None, None], self.make(0).describe(3)
        assert torch.equal(Permuting.apply(images, p[None])[0, 0], p)
