"""One trial's configuration: every setting that can change its result."""

import math
from dataclasses import dataclass, fields, replace
from typing import Final, get_type_hints

from psp_core.contexts import CONTEXTS
from psp_core.datasets import DATASETS
from psp_core.devices import PRECISIONS
from psp_core.models import HEADS, MODELS, LayerSize, NetworkSize
from psp_core.norms import NORMS
from psp_core.optimisers import OPTIMISERS
from psp_core.schedules import SCHEDULES
from psp_core.settings import Settings
from psp_core.streams import STREAMS
from psp_core.supermasks.inference import ALGORITHMS
from psp_core.supermasks.objectives import OBJECTIVES
from psp_core.supermasks.weights import FROZEN_WEIGHTS


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One network, trained through one stream, with one configuration and one seed.

    The defaults are the settings of paper A on permuting MNIST (papers.md, A3 and A7).

    Args:
        dataset: the images; see `psp_core.datasets`.
        stream: how tasks are made of the data set: `permuting`, `rotating`, `turned`, `split` or
            `incremental`.
        permute_first: whether task 0 is permuted as well.
        classes_per_task: of a split stream.
        shuffle_classes: whether a split stream's tasks take their classes in a random order.
        num_cycles: how often the stream goes through its tasks.
        method: how a network keeps its tasks apart: `psp`, by contexts or not at all, or `supsup`, by masks.
        frozen_weights: what the masks of supsup choose from.
        masks: of supsup: `threshold` or `top-k` of the scores.
        sparsity: of top-k masks; larger is denser, as in the paper.
        superfluous: outputs beside the classes, which training only pushes down.
        task_inference: whether a test batch's task is `given`, or inferred: by the `entropy` of the outputs or by
            the `superfluous` ones, in `one-shot` or by `binary` elimination.
        inference_images: how many images of a batch of 128 the task is inferred from.
        model: `mlp`, `lenet-300-100`, `small-conv`, `resnet-18` or `resnet-50`.
        heads: `shared`, one output layer for all tasks, with contexts; or `per-task`, one for each, without.
        norm: of convolutions: `static`, each batch by its own statistics, at test time too; or `per-task`, at test
            time by statistics of the task's own, measured when its training ends (`psp_core.norms`).
        context: what turns the shared weights into one task's weights.
        contexts_per_task: how many contexts a task has, each for an equal share of its steps; it is
            measured with the first.
        schedule: how the contexts that are used are made of those that were drawn; see `psp_core.schedules`.
        learned_contexts: train the current task's contexts too, with the weights' optimiser settings,
            and leave them when the next task begins; nothing keeps them on the unit circle or
            orthogonal. The paper's contexts are fixed; its released code trains them (papers.md, A7).
        width: units of each hidden layer; of a convolutional net, channels of the first (ResNets: 64 in the papers).
        depth: number of hidden layers, or of convolutions; of ResNets given.
        num_tasks: K, how many tasks are trained, one after another.
        optimiser: one for the whole stream, never reset between tasks.
        lr: learning rate.
        momentum: of SGD or RMSprop; Adam has none.
        batch_size: B, samples for each step.
        steps_per_task: steps before the next task begins.
        eval_tasks: what is measured after each task: `all` tasks seen, the `ends` (first, newest), or the `first`.
        eval_samples: test samples for each measurement; None for the whole test set, which is always
            used after the last task.
        milestones: numbers of tasks after which everything is measured as after the last one:
            all tasks seen, on the whole test set.
        precision: of matrix products: `tf32` where the device has it (CUDA; CPUs take float32),
            `float32` everywhere, or `bfloat16` for their operands and results. Weights, the sums within
            a product and the optimiser's state are float32 in each case.
        seed: of everything random, each thing with a generator of its own.

    Raises:
        ValueError: a value breaks its rule; the message names setting, value, rule and remedy.
    """

    dataset: str = "mnist"
    stream: str = "permuting"
    permute_first: bool = False
    classes_per_task: int | None = None
    shuffle_classes: bool = False
    num_cycles: int = 1
    method: str = "psp"
    frozen_weights: str = "signed-constant"
    masks: str = "threshold"
    sparsity: float | None = None
    superfluous: int = 0
    task_inference: str = "given"
    inference_images: int = 1
    model: str = "mlp"
    heads: str = "shared"
    norm: str = "static"
    context: str = "binary"
    contexts_per_task: int = 1
    schedule: str = "task"
    learned_contexts: bool = False
    width: int = 256
    depth: int = 2
    num_tasks: int = 50
    optimiser: str = "rmsprop"
    lr: float = 1e-4
    momentum: float = 0.0
    batch_size: int = 128
    steps_per_task: int = 1000
    eval_tasks: str = "all"
    eval_samples: int | None = None
    milestones: tuple[int, ...] = ()
    precision: str = "tf32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every setting, then the combinations."""
        for field in fields(self):
            object.__setattr__(self, field.name, TRIAL_SETTINGS.check(field.name, getattr(self, field.name)))
        object.__setattr__(self, "milestones", tuple(sorted({int(number) for number in self.milestones})))
        if self.permute_first and not STREAMS[self.stream].is_permuted:
            raise ValueError(f"permute_first=true does not apply to stream={self.stream!r}; leave it out.")
        STREAMS[self.stream].check(self)
        self._check_method()
        self._check_model()
        self._check_contexts()
        num_test = DATASETS[self.dataset].num_test
        if self.eval_samples is not None and self.eval_samples > num_test:
            raise ValueError(
                f"eval_samples={self.eval_samples} is more than the {num_test} test images of "
                f"dataset={self.dataset!r}; leave it out to use them all."
            )
        if self.momentum and not OPTIMISERS[self.optimiser].has_momentum:
            raise ValueError(
                f"momentum={self.momentum} does not apply to optimiser={self.optimiser!r}; "
                "leave it out, or use 'sgd' or 'rmsprop'."
            )
        if self.milestones and self.milestones[-1] >= self.num_tasks:
            raise ValueError(
                f"milestones={self.milestones} must lie below num_tasks={self.num_tasks}, "
                "whose measurement is always complete."
            )

    def _check_method(self) -> None:
        if self.method != "supsup":
            for name in ("frozen_weights", "masks", "sparsity", "superfluous", "task_inference", "inference_images"):
                if getattr(self, name) != getattr(type(self), name):
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} does not apply to method={self.method!r}; leave it out, "
                        "or use 'supsup'."
                    )
            return
        if self.context != "none" or self.heads != "shared" or self.num_cycles > 1:
            raise ValueError(
                f"context={self.context!r}, heads={self.heads!r}, num_cycles={self.num_cycles}: method='supsup' keeps "
                "tasks apart by masks, each trained once; use context 'none', shared heads and one cycle."
            )
        if MODELS[self.model].needs_real_context or self.precision != "tf32":
            raise ValueError(
                f"model={self.model!r}, precision={self.precision!r}: method='supsup' trains fully connected networks "
                "in float32 so far; use 'mlp' or 'lenet-300-100', and leave precision out."
            )
        if (self.masks == "top-k") != (self.sparsity is not None):
            raise ValueError(
                f"sparsity={self.sparsity} and masks={self.masks!r}: top-k masks need it, others have none."
            )
        if self.task_inference.startswith("superfluous") and not self.superfluous:
            raise ValueError(f"task_inference={self.task_inference!r} needs superfluous outputs, such as 90.")

    def _check_model(self) -> None:
        model = MODELS[self.model]
        if self.depth != type(self).depth and not model.has_depth:  # a ResNet-18 has 18 layers
            raise ValueError(f"depth={self.depth} does not apply to model={self.model!r}; leave it out.")
        if self.depth == 0 and self.model != "mlp":
            raise ValueError(f"depth=0: model={self.model!r} needs at least one convolution; give more.")
        if not model.has_width and self.width != type(self).width:
            raise ValueError(f"width={self.width} does not apply to model={self.model!r}; leave it out.")
        if self.depth == 0 and self.width != type(self).width:
            raise ValueError(f"width={self.width} does not apply at depth=0, a single layer; leave it out.")
        if CONTEXTS[self.context].is_complex and (model.needs_real_context or self.heads != "shared"):
            raise ValueError(
                f"context={self.context!r} is complex; model={self.model!r} with heads={self.heads!r} needs a real "
                "one: use 'binary', or model 'mlp' with shared heads."
            )
        if self.batch_size == 1 and any(layer.positions == 1 for layer in self.layers[:-1] if self.model != "mlp"):
            raise ValueError(
                f"batch_size=1: model={self.model!r} normalises over a batch, and has one pixel left of "
                f"dataset={self.dataset!r}; give more."
            )
        if self.heads == "per-task" and not any(layer.has_context for layer in self.layers) and self.context != "none":
            raise ValueError(
                f"context={self.context!r} does not apply: at depth=0 with heads='per-task' no layer has contexts; "
                "use 'none', or give a depth."
            )
        for name in ("heads", "norm"):
            if getattr(self, name) == "per-task" and self.rows_per_task > 1:
                raise ValueError(
                    f"{name}='per-task' needs one context for each task: leave out contexts_per_task and schedule."
                )
        if self.norm != "static" and not model.has_norms:
            raise ValueError(
                f"norm={self.norm!r} does not apply to model={self.model!r}, which normalises nothing; leave it out, "
                "or use a convolutional model."
            )

    def _check_contexts(self) -> None:
        context = CONTEXTS[self.context]
        if self.learned_contexts and not context.is_learnable:
            raise ValueError(
                f"learned_contexts=true does not apply to context={self.context!r}, which has no numbers of its "
                "own for each task; leave it out, or use another context."
            )
        if context.is_trivial and (self.contexts_per_task > 1 or self.schedule != "task"):
            raise ValueError(
                f"contexts_per_task and schedule do not apply to context={self.context!r}: leave them out, "
                "or use another context."
            )
        SCHEDULES[self.schedule].check(self.context)
        if self.learned_contexts and (self.contexts_per_task > 1 or self.schedule != "task"):
            raise ValueError(
                "learned_contexts=true needs one context for each task: leave out contexts_per_task and schedule."
            )
        if self.steps_per_task % self.contexts_per_task:
            raise ValueError(
                f"contexts_per_task={self.contexts_per_task} must divide steps_per_task={self.steps_per_task}, "
                "so that each is used for as many steps."
            )
        for layer in self.layers:
            most = context.max_tasks(layer.inputs) if layer.has_context else None
            if most is not None and self.num_contexts > most:
                raise ValueError(
                    f"context={self.context!r} has {most} different contexts for a layer of {layer.inputs} inputs; "
                    f"num_tasks={self.num_tasks} of contexts_per_task={self.contexts_per_task} need "
                    f"{self.num_contexts}: give fewer, a larger width, or use 'binary'."
                )

    @property
    def network_size(self) -> NetworkSize:
        """How large the network is."""
        return NetworkSize(
            width=self.width,
            depth=self.depth,
            image_shape=DATASETS[self.dataset].shape,
            out_features=self.num_outputs + self.superfluous,
        )

    @property
    def layers(self) -> list[LayerSize]:
        """The network's layers as its cost sees them."""
        *others, last = MODELS[self.model].layer_sizes(self.network_size)
        return [*others, replace(last, has_context=last.has_context and self.heads == "shared")]

    @property
    def num_outputs(self) -> int:
        """Classes of one task."""
        return STREAMS[self.stream].num_outputs(self)

    @property
    def num_contexts(self) -> int:
        """Contexts that are drawn for each layer."""
        return self.num_tasks * self.contexts_per_task

    @property
    def rows_per_task(self) -> int:
        """Contexts that are used in a task: one for each step where they change with every step."""
        return self.steps_per_task if SCHEDULES[self.schedule].is_continuous else self.contexts_per_task

    @property
    def num_visits(self) -> int:
        """How many tasks are trained, those trained again counted again."""
        return self.num_cycles * self.num_tasks

    @property
    def is_nested(self) -> bool:
        """Whether a trial of fewer tasks is the beginning of this one."""
        return self.num_cycles == 1 and STREAMS[self.stream].is_nested and SCHEDULES[self.schedule].is_nested

    @property
    def method_name(self) -> str:
        """The method as stores have it: `standard` is psp without a context."""
        return "standard" if self.method == "psp" and CONTEXTS[self.context].is_trivial else self.method

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole trial."""
        return self.num_visits * self.steps_per_task

    @property
    def shape(self) -> "TrialConfig":
        """What all members of a pack must share: this configuration but for lr, momentum and seed."""
        return replace(self, lr=1.0, momentum=0.0, seed=0)

    def measures_all(self, tasks_seen: int) -> bool:
        """Whether everything is measured after `tasks_seen` tasks: at milestones and at the end."""
        return tasks_seen == self.num_visits or tasks_seen in self.milestones

    def tasks_to_measure(self, tasks_seen: int) -> list[int]:
        """The tasks whose accuracy is measured after `tasks_seen` tasks."""
        if self.measures_all(tasks_seen):
            return list(range(min(tasks_seen, self.num_tasks)))
        return self.usual_tasks(tasks_seen)

    def usual_tasks(self, tasks_seen: int) -> list[int]:
        """What `eval_tasks` asks for after `tasks_seen` tasks, were this no milestone and not the end."""
        if self.eval_tasks == "all":
            return list(range(min(tasks_seen, self.num_tasks)))
        newest = (tasks_seen - 1) % self.num_tasks
        return sorted({0, newest}) if self.eval_tasks == "ends" else [0]


TRIAL_SETTINGS: Final = Settings(
    kinds=get_type_hints(TrialConfig),
    choices={
        "dataset": DATASETS,
        "stream": STREAMS,
        "method": dict.fromkeys(("psp", "supsup")),
        "frozen_weights": FROZEN_WEIGHTS,
        "masks": dict.fromkeys(("threshold", "top-k")),
        "task_inference": dict.fromkeys(
            ("given", *(f"{objective}-{algorithm}" for objective in OBJECTIVES for algorithm in ALGORITHMS))
        ),
        "model": MODELS,
        "heads": dict.fromkeys(HEADS),
        "norm": dict.fromkeys(NORMS),
        "schedule": SCHEDULES,
        "context": CONTEXTS,
        "optimiser": OPTIMISERS,
        "eval_tasks": dict.fromkeys(("all", "ends", "first")),
        "precision": PRECISIONS,
    },
    least={
        "width": 1,
        "depth": 0,
        "num_tasks": 1,
        "superfluous": 0,
        "inference_images": 1,
        "classes_per_task": 1,
        "num_cycles": 1,
        "contexts_per_task": 1,
        "batch_size": 1,
        "steps_per_task": 1,
        "eval_samples": 1,
        "seed": 0,
    },
    rules={
        "sparsity": (lambda value: 0 < value < math.inf, "must be a positive, finite number."),
        "lr": (lambda value: 0 < value < math.inf, "must be a positive, finite number; the paper's is 1e-4."),
        "momentum": (lambda value: 0 <= value < 1, "must lie in [0, 1); leave it out for none."),
    },
)
