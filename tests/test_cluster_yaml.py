from pathlib import Path

import pytest
import yaml

CLUSTER = Path(__file__).parent.parent / "cluster.yaml"


@pytest.mark.filterwarnings("ignore")  # Ray's autoscaler warns of its own dependencies
def test_ray_up_would_accept_it() -> None:
    """Ray's own preparation and validation, no cloud asked. These functions are private to Ray."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(yaml.safe_load(CLUSTER.read_text())))
