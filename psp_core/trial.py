"""One trial's configuration: every setting that can change its result."""

import math
from dataclasses import dataclass, fields, replace
from typing import Final, get_type_hints

from psp_core.augmentation import AUGMENTATIONS
from psp_core.contexts import CONTEXTS
from psp_core.datasets import DATASETS, NORMALISATIONS, check_normalisation
from psp_core.devices import PRECISIONS
from psp_core.initial_weights import INITIAL_WEIGHTS, check_initial_weights
from psp_core.lr_schedules import LR_SCHEDULES, check_lr_schedule
from psp_core.measuring import check_measuring, usual_tasks
from psp_core.models import HEADS, MODELS, LayerSize, NetworkSize
from psp_core.network_check import check_contexts, check_model
from psp_core.norms import NORMS, check_norm
from psp_core.optimisers import OPTIMISERS
from psp_core.schedules import RENAMED, SCHEDULES
from psp_core.settings import Settings
from psp_core.streams import INTERPOLATIONS, STREAMS, check_stream
from psp_core.supermasks.check import check_supermasks
from psp_core.supermasks.hopfield import RULES
from psp_core.supermasks.hopfield_pack import check_hopsupsup
from psp_core.supermasks.weights import FROZEN_WEIGHTS
from psp_core.task_inference import INFERENCE_LAYERS, TASK_INFERENCE, check_task_inference
from psp_core.trunk import TRUNKS, check_trunk


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One network, trained through one stream, with one configuration and one seed.

    The defaults are the settings of paper A on permuting MNIST (papers.md, A3 and A7).

    Args:
        dataset: the images; see `psp_core.datasets`.
        normalisation: of pixels, by one mean and deviation of the `data-set`, or `by-channel` as in paper B's code.
        stream: how tasks are made of the data set: `permuting`, `rotating`, `turned`, `split` or
            `incremental`.
        permute_first: whether task 0 is permuted as well.
        classes_per_task: of a split stream.
        shuffle_classes: whether a split stream's tasks take their classes in a random order.
        keep_labels: whether they keep the data set's labels, so that the network has an output for each class.
        augmentation: of training images: `none`; `flip`, by which left and right change sides in half of them; or
            `crop-flip`, which first cuts a part of an image's size out of the image with 4 black pixels around it. The
            data set's image is changed, before the stream makes the task's of it. See `psp_core.augmentation`.
        interpolation: of the turned stream, between pixels: `bilinear`, or `nearest` as paper B's authors.
        num_cycles: how often the stream goes through its tasks.
        method: how a network keeps its tasks apart: `psp`, by contexts or not at all; `supsup`, by masks of weights;
            or `hopsupsup`, by masks of hidden units that a Hopfield network holds.
        frozen_weights: what the masks of supsup choose from.
        masks: of supsup: `threshold` or `top-k` of the scores.
        sparsity: of top-k masks; larger is denser, as in the paper.
        transfer: what a task's scores begin with: `random` ones, the `previous` task's as they ended, or the
            `running-mean` of all tasks' so far.
        superfluous: outputs beside the classes, which training only pushes down.
        task_inference: whether a test batch's task is `given`, or inferred from a mix of all tasks' masks or contexts:
            by the `entropy` of the outputs or by the `superfluous` ones, in `one-shot`, by `binary` elimination or by
            `gradient-descent`; `entropy-exhaustive` asks every task's own network instead.
        inference_images: how many images of a batch of 128 the task is inferred from.
        new_mask_eps: of supsup, where training is not told the task either (NNs): eps of the rule by which a
            batch is taken to be of a new task (the paper's is 1/8); None where it is told.
        steps_per_decision: steps until that is asked again.
        trunk: what trains the weights and biases that all tasks share: `shared`, every task; `first-task`, task 0,
            and then they are frozen; `random`, nothing; or `per-task`, the upper bound: each task has a net of its
            own, which begins as the previous task's ended. See `psp_core.trunk`.
        inference_layers: of contexts, whether `all` layers' gradients say which task it is, or those of the `first` one
            that has contexts.
        inference_lr: of gradient descent on the mix, a step's length; a task's share of the mix is 1 / K at first.
        inference_steps: of gradient descent, how many.
        shared_labels: whether tasks share their labels, so that an image of a batch whose task is taken for
            another counts by what that other task's network answers; else the whole batch counts as wrong.
        hopfield_rule: how hopsupsup stores masks: by `storkey`'s rule or by `hebb`'s.
        recovery_order: whether hopsupsup finds a task's masks for all layers `together`, as in the paper, or
            `layer-by-layer`, the first one's first.
        recovery_lr: of the descent that finds them.
        recovery_gamma: the weight of the Hopfield networks' energy in it.
        model: `mlp`, `lenet-300-100`, `small-conv`, `resnet-18` or `resnet-50`.
        heads: `shared`, one output layer for all tasks, with contexts or masks; or `per-task`, one for each,
            without, all of whose weights and biases are trained.
        norm: of convolutions: `static`, each batch by its own statistics, at test time too; `per-task`, at test time
            by the task's own, measured when its training ends; or `affine`, likewise, with a scale and a shift for each
            channel, which all tasks train and share (`psp_core.norms`).
        initial_weights: what trained weights and biases begin with: `usual`, the same for every context; as PyTorch has
            them, in layers without contexts (`pytorch-plain`) or in all (`pytorch`); or `kaiming-normal`.
        context: what turns the shared weights into one task's weights.
        contexts_per_task: how many contexts a task has, each for an equal share of its steps; it is
            measured with the first.
        schedule: how the contexts that are used are made of those that were drawn; see `psp_core.schedules`.
        learned_contexts: train the current task's contexts too, with the weights' optimiser settings,
            and leave them when the next task begins; nothing keeps them on the unit circle or
            orthogonal. Where a schedule makes the contexts in use of several, all of these are trained
            (`psp_core.trained_schedules`). The paper's are fixed; its released code trains them (papers.md, A7).
        output_contexts: each task also has a number for each output of a layer, a random sign at first, so that its
            weights are W * (c s^T), BatchE's factors of rank one. Trained where contexts are. ResNets' stems, which
            have no context otherwise, then have both.
        channel_contexts: of convolutions, whether contexts have a number for each channel of the layer's input, as
            BatchE's factors have, and not one for each input of a filter, as in paper A.
        width: units of each hidden layer; of a convolutional net, channels of the first (ResNets: 64 in the papers).
        depth: number of hidden layers, or of convolutions; of ResNets given.
        num_tasks: K, how many tasks are trained, one after another.
        optimiser: one for the whole stream, never reset between tasks, of what all tasks share; a new one for each task
            of what belongs to it, which goes on when the task comes back.
        lr: learning rate.
        later_lr: of the tasks that do not train the trunk, where task 0 does; None for `lr`.
        lr_schedule: how the learning rate changes in the course of each task: `constant`; `cosine`, down to 0; or
            `multistep`, times `lr_decay` after every `lr_decay_steps` steps. See `psp_core.lr_schedules`.
        warmup_steps: of each task, in which the learning rate first rises to its full size, by equal steps.
        lr_decay_steps: of `multistep`, the steps between two decays, counted from the end of the warm-up.
        lr_decay: of `multistep`, the factor.
        momentum: of SGD or RMSprop; Adam has none.
        weight_decay: d; the gradient of whatever is trained has d times its value added.
        batch_size: B, samples for each step.
        steps_per_task: steps before the next task begins.
        eval_tasks: what is measured after each task: `all` tasks seen, the `ends` (first, newest), or the `first`;
            with a net for each task, the newest is always measured.
        eval_samples: test samples for each measurement; None for the whole test set, which is always
            used after the last task, and where each task has a net that is measured once.
        eval_every: also measure every so many optimiser steps of the whole stream, within tasks too: task 0, and
            the one being trained unless `eval_tasks` is `first`; None for after tasks alone.
        eval_from: after how many steps for the first time; None for `eval_every`. 1 for the moments of paper A's code,
            which measures every 100 steps after steps 0, 100, 200, ...: with 1, 101, 201, ... steps taken.
        test_batch_size: test images that are answered together, about, where that matters to the result: under static
            norms and of hopsupsup; where the task is inferred they are 128.
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
    normalisation: str = "data-set"
    stream: str = "permuting"
    permute_first: bool = False
    classes_per_task: int | None = None
    shuffle_classes: bool = False
    keep_labels: bool = False
    interpolation: str = "bilinear"
    augmentation: str = "none"
    num_cycles: int = 1
    method: str = "psp"
    frozen_weights: str = "signed-constant"
    masks: str = "threshold"
    sparsity: float | None = None
    transfer: str = "random"
    superfluous: int = 0
    task_inference: str = "given"
    inference_images: int = 1
    new_mask_eps: float | None = None
    steps_per_decision: int = 100
    trunk: str = "shared"
    inference_layers: str = "all"
    inference_lr: float | None = None
    inference_steps: int | None = None
    shared_labels: bool = False
    hopfield_rule: str = "storkey"
    recovery_order: str = "together"
    recovery_lr: float = 500.0
    recovery_gamma: float = 1.5e-3
    model: str = "mlp"
    heads: str = "shared"
    norm: str = "static"
    initial_weights: str = "usual"
    context: str = "binary"
    contexts_per_task: int = 1
    schedule: str = "task"
    learned_contexts: bool = False
    output_contexts: bool = False
    channel_contexts: bool = False
    width: int = 256
    depth: int = 2
    num_tasks: int = 50
    optimiser: str = "rmsprop"
    lr: float = 1e-4
    later_lr: float | None = None
    lr_schedule: str = "constant"
    warmup_steps: int = 0
    lr_decay_steps: int | None = None
    lr_decay: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 128
    steps_per_task: int = 1000
    eval_tasks: str = "all"
    eval_samples: int | None = None
    eval_every: int | None = None
    eval_from: int | None = None
    test_batch_size: int = 1000
    milestones: tuple[int, ...] = ()
    precision: str = "tf32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every setting, then the combinations."""
        for field in fields(self):
            object.__setattr__(self, field.name, TRIAL_SETTINGS.check(field.name, getattr(self, field.name)))
        object.__setattr__(self, "milestones", tuple(sorted({int(number) for number in self.milestones})))
        check_stream(self)
        check_supermasks(self)
        check_hopsupsup(self)
        check_model(self)
        check_norm(self, MODELS[self.model])
        check_initial_weights(self)
        check_normalisation(self, is_permuted=STREAMS[self.stream].is_permuted)
        check_contexts(self)
        check_trunk(self)
        check_lr_schedule(self)
        check_task_inference(self)
        if self.momentum and not OPTIMISERS[self.optimiser].has_momentum:
            raise ValueError(
                f"momentum={self.momentum} does not apply to optimiser={self.optimiser!r}; "
                "leave it out, or use 'sgd' or 'rmsprop'."
            )
        check_measuring(self)

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
        if self.output_contexts:  # a stem's too
            others = [replace(layer, has_context=True) for layer in others]
        return [*others, replace(last, has_context=last.has_context and self.heads == "shared")]

    def context_size(self, layer: LayerSize) -> int:
        """How many inputs of a layer a context binds."""
        return layer.channels if self.channel_contexts else layer.inputs

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
        """Contexts that are used in a task, one for each step where they change with every step; or decisions."""
        if self.new_mask_eps is not None:
            return self.steps_per_task // self.steps_per_decision
        return self.steps_per_task if SCHEDULES[self.schedule].is_continuous else self.contexts_per_task

    @property
    def trains_all_contexts(self) -> bool:
        """Whether contexts are trained that a schedule makes those in use of, so that all are trained together."""
        return self.learned_contexts and self.schedule != "task"

    @property
    def num_visits(self) -> int:
        """How many tasks are trained, those trained again counted again."""
        return self.num_cycles * self.num_tasks

    @property
    def is_nested(self) -> bool:
        """Whether a trial of fewer tasks is the beginning of this one.

        Not where training is told no task: it has masks for twice as many tasks as the stream has.
        """
        nests = self.has_nested_tasks and self.has_nested_contexts
        return nests and self.num_cycles == 1 and self.new_mask_eps is None

    @property
    def has_nested_tasks(self) -> bool:
        """Whether each task is the same whatever their number."""
        return STREAMS[self.stream].is_nested

    @property
    def has_nested_contexts(self) -> bool:
        """Whether each task's contexts in use are."""
        return SCHEDULES[self.schedule].is_nested

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

    def freezes_trunk(self, task: int) -> bool:
        """Whether what all tasks share stands still while this one is trained."""
        return self.trunk == "random" or (self.trunk == "first-task" and task > 0)

    def lr_of(self, task: int) -> float:
        """The learning rate of what belongs to this task."""
        return self.later_lr if self.later_lr and self.freezes_trunk(task) else self.lr

    def measures_all(self, tasks_seen: int) -> bool:
        """Whether everything is measured after `tasks_seen` tasks: at milestones and at the end."""
        return tasks_seen == self.num_visits or tasks_seen in self.milestones

    def tasks_to_measure(self, tasks_seen: int) -> list[int]:
        """The tasks whose accuracy is measured after `tasks_seen` tasks."""
        if self.measures_all(tasks_seen):
            return list(range(min(tasks_seen, self.num_tasks)))
        return usual_tasks(self, tasks_seen)


TRIAL_SETTINGS: Final = Settings(
    kinds=get_type_hints(TrialConfig),
    listed_in="python -m pydoc psp_core.TrialConfig",
    choices={
        "dataset": DATASETS,
        "normalisation": dict.fromkeys(NORMALISATIONS),
        "stream": STREAMS,
        "interpolation": dict.fromkeys(INTERPOLATIONS),
        "augmentation": AUGMENTATIONS,
        "method": dict.fromkeys(("psp", "supsup", "hopsupsup")),
        "frozen_weights": FROZEN_WEIGHTS,
        "masks": dict.fromkeys(("threshold", "top-k")),
        "transfer": dict.fromkeys(("random", "previous", "running-mean")),
        "trunk": TRUNKS,
        "task_inference": dict.fromkeys(TASK_INFERENCE),
        "inference_layers": dict.fromkeys(INFERENCE_LAYERS),
        "hopfield_rule": RULES,
        "recovery_order": dict.fromkeys(("together", "layer-by-layer")),
        "model": MODELS,
        "heads": dict.fromkeys(HEADS),
        "norm": dict.fromkeys(NORMS),
        "initial_weights": INITIAL_WEIGHTS,
        "schedule": SCHEDULES,
        "context": CONTEXTS,
        "optimiser": OPTIMISERS,
        "lr_schedule": LR_SCHEDULES,
        "eval_tasks": dict.fromkeys(("all", "ends", "first")),
        "precision": PRECISIONS,
    },
    least={
        "width": 1,
        "depth": 0,
        "num_tasks": 1,
        "superfluous": 0,
        "inference_images": 1,
        "steps_per_decision": 1,
        "inference_steps": 1,
        "classes_per_task": 1,
        "num_cycles": 1,
        "contexts_per_task": 1,
        "batch_size": 1,
        "steps_per_task": 1,
        "warmup_steps": 0,
        "lr_decay_steps": 1,
        "eval_samples": 1,
        "eval_every": 1,
        "eval_from": 1,
        "test_batch_size": 2,
        "seed": 0,
    },
    rules={
        "sparsity": (lambda value: 0 < value < math.inf, "must be a positive, finite number."),
        "new_mask_eps": (lambda value: 0 <= value < math.inf, "must be a finite number of at least 0, such as 0.125."),
        "inference_lr": (lambda value: 0 < value < math.inf, "must be a positive, finite number."),
        "lr": (lambda value: 0 < value < math.inf, "must be a positive, finite number; the paper's is 1e-4."),
        "later_lr": (lambda value: 0 < value < math.inf, "must be a positive, finite number, such as 0.01."),
        "lr_decay": (lambda value: 0 < value < 1, "must lie in (0, 1), such as 0.1."),
        "weight_decay": (lambda value: 0 <= value < math.inf, "must be 0 or a positive, finite number."),
        "recovery_lr": (lambda value: 0 < value < math.inf, "must be a positive, finite number; the paper's is 500."),
        "recovery_gamma": (lambda value: 0 <= value < math.inf, "must be 0 or positive; the paper's is 1.5e-3."),
        "momentum": (lambda value: 0 <= value < 1, "must lie in [0, 1); leave it out for none."),
    },
    renamed={"schedule": RENAMED},
)
