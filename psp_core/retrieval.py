"""Retrieval without training: how much noise K - 1 stored models leave on the one that is retrieved.

K given linear models w(s) are stored in one weight vector, each under its own context, W = sum_s w(s) c(s)^-1.
Retrieving model k gives w(k) and crosstalk: eps = sum_{s != k} w(s) c(s)^-1 c(k) x on an input x. Paper A's
Propositions 1 and 2 say what its mean and its second moment are (papers.md, A6).
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from psp_core.contexts import Context
from psp_core.experiment import Experiment, Work
from psp_core.outcome import Outcome
from psp_core.parts import Rule, setting
from psp_core.randomness import generator
from psp_core.rules import at_least

# K models, I inputs of each, O outputs of each, B inputs vectors, G groups of K models; 2 = real and imaginary part

OUTPUTS: Final = 16
BATCH: Final = 16
"""Output neurons of each model and input vectors: so many more samples of the crosstalk from each draw of contexts."""


class RetrievalConfig(Experiment):
    """One measurement of crosstalk.

    Raises:
        ValueError: a value breaks its rule.
    """

    kind: ClassVar[str] = "retrieval"

    context: Context = setting("binary", "Under what the models are stored.", label="{}", says_default=True)
    width: int = setting(1024, "N, the inputs of each model.", rule=at_least(1))
    num_tasks: int = setting(
        64, "The most models that are stored together; 2, 4, 8, ... up to it are measured.", rule=at_least(2)
    )
    num_draws: int = setting(8, "How often all contexts are drawn anew; models and inputs stay.", rule=at_least(1))
    alignment: float = setting(
        0.0,
        "How strongly models respond to their inputs, eta in [0, 1): the part of its largest possible response that a "
        "model has, |<w, x>| = eta |w| |x|, as a trained model responds to what it was trained on. All models and "
        "inputs have the same direction in common.",
        rule=Rule(lambda value: 0 <= value < 1, "must lie in [0, 1)."),
    )
    support: float = setting(
        1.0,
        "The share of a layer's inputs that models and inputs use, in (0, 1]; zeros elsewhere, as around the digits of "
        "MNIST.",
        rule=Rule(lambda value: 0 < value <= 1, "must lie in (0, 1]; leave it out for all inputs."),
    )
    seed: int = setting(0, "Of the models, the inputs and the contexts.", rule=at_least(0))

    def __post_init__(self) -> None:
        """Check every setting, then the combinations."""
        super().__post_init__()
        if self.num_tasks & (self.num_tasks - 1):
            raise ValueError(f"num_tasks={self.num_tasks} must be a power of two: 2, 4, 8, ... models are measured.")
        most = self.context.max_tasks(self.width)
        if most is not None and self.num_tasks > most:
            raise ValueError(
                f"context={self.context.name!r} has {most} different contexts for {self.width} inputs; "
                f"num_tasks={self.num_tasks} need more: give fewer, or a larger width."
            )

    def shared(self) -> dict[str, Any]:
        """Everything: a trial is measured alone."""
        return self.columns()

    @property
    def num_visits(self) -> int:
        """Draws of all contexts."""
        return self.num_draws

    @property
    def member_bytes(self) -> int:
        """Contexts, and models in several states."""
        parts = 2 if self.context.is_complex else 1
        contexts = math.prod(self.context.shape(self.width))
        return 4 * self.num_tasks * (contexts + 8 * parts * self.width * OUTPUTS)

    def work(self, tasks_before: int = 0) -> Work:
        """Binding, responding, and drawing where that takes a decomposition."""
        of_context = self.context.num_products(self.width)
        levels = self.num_tasks.bit_length() - 1
        of_draw = levels * OUTPUTS * (3 * of_context + self.width * (BATCH + 10)) + 2 * self.width * of_context
        products = self.num_draws * self.num_tasks * of_draw
        return Work(num_steps=self.num_draws, tests=1, test_products=products)


@dataclass(frozen=True, kw_only=True)
class Crosstalk:
    """What was measured with K models stored together; lengths are relative to E |w|^2 |x|^2.

    Attributes:
        num_models: K.
        mean: of eps over all samples, as a multiple of its own root mean square: 0 by Proposition 1.
        second_moment: E |eps|^2; (K - 1) / N where energies spread evenly.
        predicted: the same by Proposition 2; NaN where the paper has none for this context.
        distortion: E |own model retrieved - own model|^2: 0 for orthogonal contexts, up to rounding.
        num_samples: responses that were measured.
    """

    num_models: int
    mean: float
    second_moment: float
    predicted: float
    distortion: float
    num_samples: int


CROSSTALK: Final = {
    "num_models": Outcome(int, "2, 4, ... K stored together."),
    "mean": Outcome(float, "Of the crosstalk, over its root mean square."),
    "second_moment": Outcome(float, "Of the crosstalk, over E |w|^2 |x|^2."),
    "predicted": Outcome(float, "The same by the paper's Proposition 2; NaN where it has none."),
    "distortion": Outcome(float, "Of the retrieved model itself, over the same."),
    "num_samples": Outcome(int, "Responses that were measured.", is_large=True),
}
"""Columns of the store's `crosstalk`, beside the trial."""


@dataclass(frozen=True, kw_only=True)
class RetrievalResult:
    """What one trial measured: an entry for each number of models, and the seconds it took."""

    config: RetrievalConfig
    crosstalk: list[Crosstalk]
    seconds: float
    diverged_at: None = None
    final_accuracy: float = math.nan

    def outcomes(self) -> dict[str, object]:
        """No columns of its own."""
        return {}

    def measurements(self) -> dict[str, list[dict[str, object]]]:
        """The crosstalk, by table of the store."""
        return {"crosstalk": [asdict(row) for row in self.crosstalk]}


class Retrieval:
    """Measures crosstalk, one draw of all contexts after another.

    Goes on as `PackTraining` does, so that a worker can run either; a draw is its task.

    Args:
        config: what to measure.
        device: where.
    """

    def __init__(self, config: RetrievalConfig, device: torch.device) -> None:
        """Draw the models and the inputs."""
        self.config, self.configs = config, [config]
        self.device = device
        self.context = config.context
        parts = (2,) if self.context.is_complex else ()
        self.models = _vectors(config, "models", (config.num_tasks, OUTPUTS), parts).transpose(1, -1).to(device)
        self.inputs = _vectors(config, "inputs", (BATCH,), parts).to(device)
        self.numbers = [2**level for level in range(1, config.num_tasks.bit_length())]
        self.sums = torch.zeros(len(self.numbers), len(_SUMS), dtype=torch.float64)
        self.tasks_seen = 0
        self.seconds = 0.0

    @property
    def done(self) -> bool:
        """Whether all draws were made."""
        return self.tasks_seen == self.config.num_draws

    @torch.no_grad()
    def train_task(self) -> None:
        """Draw all contexts once more and measure with them."""
        start = time.perf_counter()
        rng = generator(self.config.seed, "contexts", self.tasks_seen)
        contexts = self.context.sample(self.config.num_tasks, self.config.width, rng, self.device)
        for row, num_models in enumerate(self.numbers):
            for models, own in zip(
                torch.split(self.models, num_models), torch.split(contexts, num_models), strict=True
            ):
                self.sums[row] += _sums(self.context, models, own, self.inputs)
        self.tasks_seen += 1
        self.seconds += time.perf_counter() - start

    def results(self) -> list[RetrievalResult]:
        """What the draws so far say."""
        named = [dict(zip(_SUMS, row, strict=True)) for row in self.sums.tolist()]
        crosstalk = [_summary(number, sums) for number, sums in zip(self.numbers, named, strict=True)]
        return [RetrievalResult(config=self.config, crosstalk=crosstalk, seconds=self.seconds)]

    def member_state(self, member: int) -> dict[str, Any]:
        """How far its only member is, as tensors and plain values."""
        return {"sums": self.sums, "tasks_seen": self.tasks_seen, "seconds": self.seconds}

    def load_member_states(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on from what `member_state` gave."""
        (state,) = states
        self.sums.copy_(state["sums"])
        self.tasks_seen, self.seconds = state["tasks_seen"], state["seconds"]


def _vectors(config: RetrievalConfig, purpose: str, number: tuple[int, ...], parts: tuple[int, ...]) -> Tensor:
    """Gaussian vectors (*number, *parts, N), with a direction in common with all others of the seed."""
    common = torch.randn(*parts, config.width, generator=generator(config.seed, "common"))
    own = torch.randn(*number, *parts, config.width, generator=generator(config.seed, purpose))
    vectors = math.sqrt(config.alignment) * common + math.sqrt(1 - config.alignment) * own
    used = torch.randperm(config.width, generator=generator(config.seed, "support"))
    return vectors * (used < config.support * config.width)


_SUMS: Final = ("mean", "second_moment", "predicted", "distortion", "scale", "number")


def _sums(context: Context, models: Tensor, contexts: Tensor, x: Tensor) -> Tensor:
    """What one group of K models adds: sums over its models, outputs and inputs, in the order of `_SUMS`."""
    stored = context.store(models, contexts)
    own = context.retrieve(stored, contexts)
    retrieved = context.retrieve(stored.sum(0).expand_as(stored), contexts)
    eps, distortion = _responses(retrieved - own, x), _responses(own - models, x)
    energy_KIO, energy_BI = (_energy(models, 2), _energy(x, 1)) if context.is_complex else (models**2, x**2)
    lengths = energy_KIO.sum(1)  # KO
    scale = lengths.sum() * energy_BI.sum()
    values = [
        eps.real.sum(),
        eps.abs().square().sum(),
        _predicted(context, energy_KIO, energy_BI),
        distortion.abs().square().sum(),
        scale,
        torch.tensor(float(eps.numel())),
    ]
    return torch.stack([value.double().cpu() for value in values])


def _responses(weights: Tensor, x: Tensor) -> Tensor:
    """Each model's outputs on each input, (K, B, O), complex where they are."""
    if weights.dim() == 3:
        return torch.einsum("bi,kio->kbo", x, weights)
    return torch.einsum("bi,kio->kbo", torch.complex(*x.unbind(1)), torch.complex(*weights.unbind(2)))


def _energy(x: Tensor, dim: int) -> Tensor:
    return x.square().sum(dim)


def _predicted(context: Context, energy_KIO: Tensor, energy_BI: Tensor) -> Tensor:
    """Proposition 2, summed over models, inputs and outputs: what K - 1 others leave on each."""
    others_KIO = energy_KIO.sum(0) - energy_KIO
    if context.crosstalk == "elementwise":
        return context.crosstalk_share * torch.einsum("bi,kio->", energy_BI, others_KIO)
    if context.crosstalk == "spread":
        return others_KIO.sum() * energy_BI.sum() / energy_BI.shape[1]
    return torch.tensor(float("nan"))


def _summary(num_models: int, sums: dict[str, float]) -> Crosstalk:
    root_mean_square = math.sqrt(sums["second_moment"] / sums["number"]) or math.nan
    return Crosstalk(
        num_models=num_models,
        mean=sums["mean"] / sums["number"] / root_mean_square,
        second_moment=sums["second_moment"] / sums["scale"],
        predicted=sums["predicted"] / sums["scale"],
        distortion=sums["distortion"] / sums["scale"],
        num_samples=int(sums["number"]),
    )
