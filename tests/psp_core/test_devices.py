import pytest
import torch

from psp_core.devices import arithmetic


@pytest.mark.parametrize(("precision", "is_tf32"), [("tf32", True), ("float32", False), ("bfloat16", False)])
def test_what_is_set_for_a_cuda_device_comes_back(precision: str, is_tf32: bool) -> None:
    def state() -> tuple[object, ...]:
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        reduced = matmul.allow_bf16_reduced_precision_reduction
        return torch.get_float32_matmul_precision(), reduced, cudnn.allow_tf32, cudnn.benchmark

    before = state()
    with arithmetic(precision, torch.device("cuda")):
        assert state() == ("high" if is_tf32 else "highest", False, is_tf32, True)
    assert state() == before
