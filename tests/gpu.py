"""What is asked of a CUDA device alone."""

from typing import Final

import pytest
import torch

ON_A_GPU: Final = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore"),  # of drivers and compilers
]
