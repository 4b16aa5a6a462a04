"""With which workers a study runs where there are several ways."""

import pytest

from psp_core.trial import TrialConfig
from study import tune, workers
from study.choice import chosen
from study.plan import make_packs, merge
from study.spec import load_study
from study.tune import _cluster
from study.workers import Workers, among, choices_here

GIB = 2**30
H200 = Workers(device="cuda", count=1, memory=140 * GIB, cores=16, name="NVIDIA H200")
CORES = Workers(device="cpu", count=16, memory=8 * GIB, cores=16)


def test_packs_that_leave_a_gpu_idle_share_it() -> None:
    """A few members of at most 128 units: most of a step is its fixed cost."""
    trials = merge(load_study("quickstart").trials())
    found, words = chosen(among(H200, None, None, 16), lambda workers: make_packs(trials, workers))
    assert found.packs_per_gpu in (2, 4, 8)
    assert found.memory == H200.memory // found.packs_per_gpu
    assert words.startswith(f"{found.packs_per_gpu} packs share each GPU: ")
    assert "; one pack at a time on each GPU: " in words


def test_packs_that_keep_a_gpu_busy_have_it_for_themselves() -> None:
    trials = [TrialConfig(context="complex", width=2048, seed=seed) for seed in range(256)]
    found, _ = chosen(among(H200, CORES, None, 16), lambda workers: make_packs(trials, workers))
    assert found == H200


def test_a_study_of_seconds_runs_on_cpu_cores() -> None:
    """A worker on a GPU begins later, and so does each pack."""
    trials = merge(load_study("quickstart").trials())
    found, words = chosen(among(H200, CORES, None, 16), lambda workers: make_packs(trials, workers))
    assert found == CORES
    assert words.startswith("16 CPU cores: ")
    assert "one pack at a time on each GPU: " in words


def test_what_the_user_says_is_no_choice() -> None:
    (only,) = among(H200, CORES, 3, 16)
    assert (only.count, only.memory, only.packs_per_gpu) == (3, H200.memory // 3, 3)
    assert chosen([only], lambda workers: pytest.fail("nothing to plan")) == (only, "")


def test_each_pack_on_a_gpu_needs_a_core() -> None:
    two = Workers(device="cuda", count=2, memory=GIB, cores=4)
    assert [found.packs_per_gpu for found in among(two, None, None, 4)] == [1, 2]
    assert [found.packs_per_gpu for found in among(two, None, None, 1)] == [1]


@pytest.mark.parametrize(
    ("asked", "shares"),
    [((None, None), [1, 2, 4, 8, 0]), ((None, 1), [1, 2, 4, 8]), ((2, None), [2]), ((None, 0), [0])],
)
def test_this_machine_offers_its_gpus_and_its_cores(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[int | None, int | None], shares: list[int]
) -> None:
    monkeypatch.setattr(workers.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(workers.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(workers, "gpu_memory", lambda: 140 * GIB)
    monkeypatch.setattr(workers, "gpu_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(workers, "_cores", lambda: 16)
    found = choices_here(*asked)
    assert [one.packs_per_gpu if one.device == "cuda" else 0 for one in found] == shares
    assert all(one.count == (one.packs_per_gpu if one.device == "cuda" else 16) for one in found)


def test_a_cluster_offers_its_gpus_and_the_cores_of_all_its_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"CPU": 8.0, "memory": 64.0 * GIB}
    monkeypatch.setattr(tune, "_nodes", lambda: [node, {**node, "GPU": 2.0}, {**node, "GPU": 2.0}])
    monkeypatch.setattr(tune, "_gpu", lambda number: (80 * GIB, "NVIDIA A100"))
    *shared, cores = _cluster(None, None)
    assert [(one.count, one.packs_per_gpu, one.memory) for one in shared] == [
        (4 * n, n, 80 * GIB // n) for n in (1, 2, 4)
    ]
    assert {one.name for one in shared} == {"NVIDIA A100"}
    assert (cores.device, cores.count, cores.memory) == ("cpu", 24, 8 * GIB)
    assert [one.packs_per_gpu for one in _cluster(4, None)] == [4]
    monkeypatch.setattr(tune, "_nodes", lambda: [node, {"GPU": 8.0}])
    with pytest.raises(workers.StudyError, match="both a GPU and a CPU core"):
        _cluster(None, None)
