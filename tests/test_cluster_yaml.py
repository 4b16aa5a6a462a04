"""The cluster files, as Ray's own preparation and validation see them; no cloud is asked."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FILES = ["cluster.yaml", "cluster-onprem.yaml"]

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's autoscaler warns of its own dependencies


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


def validate(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `ray up` does before it asks a cloud for anything. These functions are private to Ray."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.mark.parametrize("name", FILES)
def test_ray_up_would_accept_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    validate(load(name), monkeypatch)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mistake", ["max_worker", "head_start_ray_command"])
def test_the_validation_would_find_a_misspelt_key(name: str, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match=mistake):
        validate({**load(name), mistake: 1}, monkeypatch)


@pytest.mark.parametrize("name", FILES)
def test_every_node_shows_the_token_and_the_dashboard_listens_on_the_head_only(name: str) -> None:
    config = load(name)
    starts = [
        c for key in ("head_start_ray_commands", "worker_start_ray_commands") for c in config[key] if " start " in c
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_aws_workers_are_spot_machines_that_exist_only_while_there_is_work() -> None:
    config = load("cluster.yaml")
    gpu, head = config["available_node_types"]["gpu"], config["available_node_types"]["head"]
    assert gpu["min_workers"] == 0
    assert gpu["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["resources"] == {"CPU": 0}
    assert gpu["max_workers"] == config["max_workers"]


@pytest.mark.parametrize("name", FILES)
def test_what_need_not_travel_stays_at_home(name: str) -> None:
    assert {".venv/", ".git/", "results/"} <= set(load(name)["rsync_exclude"])
