"""What every method must do, of those that there are."""

from typing import Any, ClassVar

from tests.methods import MethodContract


class TestSuperposed(MethodContract):
    settings: ClassVar[dict[str, Any]] = {"context": "binary"}
    others: ClassVar[dict[str, Any]] = {"context": "complex"}


class TestHeads(MethodContract):
    settings: ClassVar[dict[str, Any]] = {"context": "none", "heads": "per-task"}
    others: ClassVar[dict[str, Any]] = {"context": "binary"}


class TestNetPerTask(MethodContract):
    settings: ClassVar[dict[str, Any]] = {"context": "none", "trunk": "per-task"}
    others: ClassVar[dict[str, Any]] = {"trunk": "shared"}
    forgets = False


class TestSupsup(MethodContract):
    settings: ClassVar[dict[str, Any]] = {"method": "supsup", "lr": 0.1}
    others: ClassVar[dict[str, Any]] = {"task_inference": "entropy-one-shot"}
    forgets = False


class TestSupsupInferred(MethodContract):
    settings: ClassVar[dict[str, Any]] = {
        "method": "supsup",
        "task_inference": "entropy-one-shot",
        "shared_labels": True,
        "lr": 0.03,
        "width": 64,
    }
    others: ClassVar[dict[str, Any]] = {"task_inference": "entropy-binary"}


class TestNNs(MethodContract):
    settings: ClassVar[dict[str, Any]] = {
        "method": "nns",
        "new_mask_eps": 0.125,
        "steps_per_decision": 10,
        "lr": 0.03,
        "width": 64,
    }
    others: ClassVar[dict[str, Any]] = {"new_mask_eps": 0.5}


class TestHopSupSup(MethodContract):
    settings: ClassVar[dict[str, Any]] = {
        "method": "hopsupsup", "stream": "split", "classes_per_task": 2, "keep_labels": True, "lr": 0.03, "width": 48,
        "recovery_lr": 1.0,
    }  # fmt: skip
    others: ClassVar[dict[str, Any]] = {"recovery_order": "layer-by-layer"}
    learns = 0.2
