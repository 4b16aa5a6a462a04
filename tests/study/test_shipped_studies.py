"""Every shipped study can be built as it stands, and has the settings that its paper prints."""

from dataclasses import replace

import torch

from psp_core.datasets import DATASETS
from psp_core.methods import METHODS
from psp_core.task_inference import INFERENCE_SETTINGS
from psp_core.trial import TrialConfig
from study.spec import load_study, shipped_studies

META = torch.device("meta")


def networks() -> dict[TrialConfig, str]:
    """One trial for each network that a shipped study trains, as it is built for two tasks, and a study that has it."""
    found: dict[TrialConfig, str] = {}
    for name in shipped_studies():
        spec = load_study(name)
        for form in (spec, *([spec.reduced()] if spec.small else [])):
            for trial in form.trials():
                if isinstance(trial, TrialConfig):
                    found.setdefault(as_built(trial), form.name)
    return found


def as_built(trial: TrialConfig) -> TrialConfig:
    """The trial, less what its network does not depend on."""
    as_usual = ["new_mask_eps", "steps_per_decision", "num_cycles", "task_inference", *INFERENCE_SETTINGS]
    as_usual += ["weight_decay", "later_lr", "milestones", "eval_tasks", "eval_samples"]
    unchanged = {name: getattr(TrialConfig, name) for name in as_usual}
    return replace(trial.shape, **unchanged, num_tasks=2, batch_size=4)


def test_every_network_of_every_shipped_study_can_be_trained() -> None:
    """Built as for training, and taken through a step without numbers: shapes alone."""
    failed = {}
    for trial, study in networks().items():
        try:
            pack = METHODS[trial.method]([trial], META)
            pack.begin(0)
            x_EBI = torch.empty(1, trial.batch_size, DATASETS[trial.dataset].num_inputs, device=META)
            loss_E = pack.gradients(x_EBI, torch.zeros(1, trial.batch_size, dtype=torch.int64, device=META))
        except Exception as error:
            failed[study] = f"{trial}: {error!r}"
        else:
            assert loss_E.shape == (1,)
    assert not failed, "\n".join(f"{study}: {message}" for study, message in failed.items())
