"""What can be chosen of superposed networks, and what cannot be chosen together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from psp_core.contexts import Context
from psp_core.course import Course
from psp_core.inference import Inference, Inferred
from psp_core.initial_weights import InitialWeights
from psp_core.layers import check_output_contexts
from psp_core.methods.shared_settings import InferringMethod, heads_setting, inference_setting, superfluous_setting
from psp_core.models import Heads, LayerSize, Model
from psp_core.optimisers import Optimiser
from psp_core.parts import setting
from psp_core.protect import Protection
from psp_core.rules import at_least, positive
from psp_core.schedules import Schedule
from psp_core.streams import Stream

Trunk = Literal["shared", "first-task", "random", "per-task", "independent"]
OF_ONE_TASK: Final = ("per-task", "independent")
"""Trunks that belong to a task each."""


class SuperposedSettings(InferringMethod):
    """The settings of `psp` and their rules; see `psp_core.methods.superposed`."""

    context: Context = setting(
        "binary", "What turns the shared weights into one task's weights.", label="{}", says_default=True
    )
    contexts_per_task: int = setting(
        1,
        "How many contexts a task has, each for an equal share of its steps; the task is measured with the first.",
        rule=at_least(1),
        column="contexts_per_task",
        label=" x{}",
    )
    schedule: Schedule = setting(
        "task",
        "A rule that makes the contexts in use from the contexts that were drawn; `task` uses each as it was drawn.",
        label=", {}",
    )
    output_contexts: bool = setting(
        False,
        "Whether each task also has a number for each output of a layer: a random sign at first, so that its weights "
        "are W * (c s^T), BatchE's factors of rank one. They are trained if contexts are. A ResNet's first layer, "
        "which has no context otherwise, then has both.",
        column="output_contexts",
        label={True: ", outputs too"},
    )
    channel_contexts: bool = setting(
        False,
        "Whether a convolution's context has one number for each channel of the layer's input, as BatchE's factors "
        "have; otherwise it has one for each input of a filter, as in paper A.",
        column="channel_contexts",
        label={True: ", by channel"},
    )
    heads: Heads = heads_setting()
    trunk: Trunk = setting(
        "shared",
        "What trains the trunk, the weights and biases that all tasks share: every task (`shared`), task 0 alone, "
        "after which they are frozen (`first-task`), or nothing (`random`). With `per-task`, the upper bound, nothing "
        "is shared: each task has a net of its own, which begins as the previous task's ended. With `independent`, "
        "each net begins with the first weights, so that no task knows of another. Heads and trained contexts are "
        "never frozen.",
        column="trunk",
        label={
            "first-task": ", trunk first-task",
            "random": ", trunk random",
            "per-task": ", net per task",
            "independent": ", independent nets",
        },
    )
    later_lr: float | None = setting(
        None,
        "With `trunk: first-task`, the learning rate from task 1 on, when heads or contexts are trained alone; none "
        "for `lr`.",
        rule=positive(", such as 0.01"),
        column="later_lr",
    )
    learned_contexts: bool = setting(
        False,
        "Whether the current task's contexts are trained along with the weights, with the same optimiser settings. "
        "They stay as they are when the next task begins. Nothing keeps them on the unit circle or orthogonal. If a "
        "schedule combines several contexts, all of these are trained. Paper A's contexts are fixed; its released "
        "code trains them (papers.md, A7).",
        column="learned_contexts",
    )
    initial_weights: InitialWeights = setting(
        "usual",
        "What trained weights and biases begin with: `usual`, the same for every context; as PyTorch has them, in "
        "layers without contexts (`pytorch-plain`) or in all (`pytorch`); or `kaiming-normal`.",
        column="initial_weights",
    )
    joint: bool = setting(
        False,
        "Whether all tasks are trained at once, the upper bound of methods that share weights: each image of a batch "
        "is of a random task, whose context and head it meets, in all of the num_tasks * steps_per_task steps. "
        "Measured at the end alone.",
        column="joint",
        label={True: ", joint"},
    )
    protect: Protection = setting("none", "What keeps the shared weights from forgetting.", label=", {}")
    inference: Inference = inference_setting()
    superfluous: int = superfluous_setting()

    @property
    def stored_name(self) -> str:
        """`standard` is psp without a context."""
        return "standard" if self.context.is_trivial else self.name

    @property
    def has_nested_contexts(self) -> bool:
        """By the schedule; all tasks that are trained at once are trained beside one another."""
        return self.schedule.is_nested and not self.joint

    @property
    def needs_one_length(self) -> bool:
        """Where what is trained has a row for each context of all tasks, or all are trained at once."""
        return self.trains_all_contexts or self.joint

    @property
    def mixes_tasks(self) -> bool:
        """Where all are trained at once."""
        return self.joint

    @property
    def has_own(self) -> bool:
        """Whether a task's network differs from another's, by a context or a head."""
        return not self.context.is_trivial or self.output_contexts or self.heads != "shared"

    @property
    def measures_once(self) -> bool:
        """Where each task has a net of its own."""
        return self.trunk in OF_ONE_TASK

    @property
    def trains_all_contexts(self) -> bool:
        """Whether contexts are trained that a schedule makes those in use of, so that all are trained together."""
        return self.learned_contexts and self.schedule.name != "task"

    @property
    def counts_trunk(self) -> bool:
        """Whether shared weights are numbers of the trial: trained, and not each task's own."""
        return self.trunk not in ("random", *OF_ONE_TASK)

    def num_contexts(self, trial: Course) -> int:
        """Contexts that are drawn for each layer."""
        return trial.num_tasks * self.contexts_per_task

    def num_stretches(self, trial: Course) -> int:
        """One for each context in use, which are as many as steps where contexts change with every step."""
        return trial.steps_per_task if self.schedule.is_continuous else self.contexts_per_task

    def phases(self, trial: Course) -> Sequence[int]:
        """The protection's, where a task has one stretch."""
        return self.protect.phases(trial.steps_per_task) if self.num_stretches(trial) == 1 else super().phases(trial)

    def num_rows(self, trial: Course) -> int:
        """Contexts in use, or heads, that are kept for each layer."""
        return self.num_contexts(trial) if self.trains_all_contexts else trial.num_tasks * self.num_stretches(trial)

    def context_size(self, layer: LayerSize) -> int:
        """How many inputs of a layer a context binds."""
        return layer.channels if self.channel_contexts else layer.inputs

    def freezes_trunk(self, task: int) -> bool:
        """Whether what all tasks share stands still while this one is trained."""
        return self.trunk == "random" or (self.trunk == "first-task" and task > 0)

    def lr_of(self, trial: Course, task: int) -> float:
        """The learning rate of what belongs to this task."""
        return self.later_lr if self.later_lr and self.freezes_trunk(task) else trial.of(Optimiser).lr

    def pieces(self) -> dict[str, str]:
        """The context's name first; trained factors of rank one are BatchE, whose trunk the first task trains."""
        pieces = super().pieces()
        if not self.output_contexts or not self.learned_contexts:
            return pieces
        name = self.context.name
        trunk = {"first-task": "", "shared": ", trunk shared"}.get(self.trunk, pieces.get("trunk", ""))
        said = {"context": "batche" if name == "binary" else f"batche {name}", "output_contexts": "", "trunk": trunk}
        return pieces | said | {"learned_contexts": ""}

    def layers(self, trial: Course) -> list[LayerSize]:
        """Stems have contexts where outputs have; heads for each task, and a network's inputs, have them or not."""
        layers, of_units = super().layers(trial), self.context.is_of_units
        if self.output_contexts:  # a stem's too
            layers = [replace(layer, has_context=True) for layer in layers]
        if self.heads == "per-task":
            layers[-1] = replace(layers[-1], has_context=of_units)
        return [replace(layers[0], has_context=False), *layers[1:]] if of_units else layers

    def check(self, trial: Course) -> None:
        """Refuse contexts, heads and trunks that do not go with one another or with the network."""
        self._check_heads(trial)
        self._check_contexts(trial)
        self._check_number(trial)
        self._check_trunk(trial)
        self._check_joint(trial)
        self._check_protection(trial)
        if self.superfluous or not self.inference.is_given:
            self._check_inference()
        super().check(trial)

    def _check_heads(self, trial: Course) -> None:
        model, name = trial.of(Model), self.context.name
        if self.context.is_complex and (model.needs_real_context or self.heads != "shared"):
            raise ValueError(
                f"context={name!r} is complex; model={model.name!r} with heads={self.heads!r} needs a real "
                "one: use 'binary', or model 'mlp' with shared heads."
            )
        if not any(layer.has_context for layer in self.layers(trial)) and name != "none":
            raise ValueError(
                f"context={name!r} does not apply: at depth=0 with heads={self.heads!r} no layer has contexts; "
                "use 'none', or give a depth."
            )
        if self.heads == "shared":
            return
        if self.num_stretches(trial) > 1 or self.trains_all_contexts:
            raise ValueError(
                "heads='per-task' needs one context for each task: leave out contexts_per_task and schedule."
            )

    def _check_contexts(self, trial: Course) -> None:
        if trial.of(Model).by_task and self.num_stretches(trial) > 1:
            raise ValueError(
                f"norm={trial.of(Model).normalises!r} needs one context for each task: leave out contexts_per_task and "
                "schedule."
            )
        name, context = self.context.name, self.context
        if self.learned_contexts and not context.is_learnable:
            raise ValueError(
                f"learned_contexts=true does not apply to context={name!r}, which has no numbers of its "
                "own for each task that could be trained; leave it out, or use another context."
            )
        if context.is_of_units:
            self._check_units(trial)
        if self.output_contexts:
            check_output_contexts(context)
        if self.channel_contexts and (context.is_trivial or not trial.of(Model).convolves):
            raise ValueError(
                f"channel_contexts=true with context={name!r}, model={trial.of(Model).name!r}: it is about the "
                "contexts of convolutions; leave it out, or use 'binary' and a convolutional model."
            )
        if context.is_trivial and (self.contexts_per_task > 1 or self.schedule.name != "task"):
            raise ValueError(
                f"contexts_per_task and schedule do not apply to context={name!r}: leave them out, "
                "or use another context."
            )
        self.schedule.check(context)
        if self.output_contexts and self.schedule.name != "task":
            raise ValueError(
                f"schedule={self.schedule.name!r} combines contexts of inputs; output_contexts=true has others: leave "
                "out one of both."
            )
        if self.learned_contexts and self.schedule.draws:
            raise ValueError(
                f"learned_contexts=true does not apply to schedule={self.schedule.name!r}, which takes contexts by "
                "chance; leave out one."
            )

    def _check_units(self, trial: Course) -> None:
        name, model = self.context.name, trial.of(Model)
        if model.convolves and not self.channel_contexts:
            raise ValueError(
                f"context={name!r} is of hidden units, which are channels where model={model.name!r} convolves: give "
                "channel_contexts=true, or use model 'mlp'."
            )
        if self.output_contexts or self.schedule.name != "task":
            raise ValueError(
                f"schedule={self.schedule.name!r}, output_contexts={self.output_contexts} do not apply to context="
                f"{name!r}, whose units are a task's or not; leave them out, or use another context."
            )

    def _check_number(self, trial: Course) -> None:
        if trial.steps_per_task % self.contexts_per_task:
            raise ValueError(
                f"contexts_per_task={self.contexts_per_task} must divide steps_per_task={trial.steps_per_task}, "
                "so that each is used for as many steps."
            )
        number = self.num_contexts(trial)
        for layer in self.layers(trial):
            size = self.context_size(layer)
            most = self.context.max_tasks(size) if layer.has_context else None
            if most is not None and number > most:
                raise ValueError(
                    f"context={self.context.name!r} has {most} different contexts for a layer of {size} inputs; "
                    f"num_tasks={trial.num_tasks} of contexts_per_task={self.contexts_per_task} need "
                    f"{number}: give fewer, a larger width, or use 'binary'."
                )

    def _check_trunk(self, trial: Course) -> None:
        if self.later_lr is not None and self.trunk != "first-task":
            raise ValueError(
                f"later_lr={self.later_lr} does not apply to trunk={self.trunk!r}, which every task meets alike; "
                "leave it out, or use 'first-task'."
            )
        if self.trunk == "shared":
            return
        if self.protect.is_any:
            raise ValueError(
                f"protect={self.protect.name!r} does not apply to trunk={self.trunk!r}, which no later task changes; "
                "leave it out, or use 'shared'."
            )
        if trial.num_cycles > 1:
            raise ValueError(
                f"num_cycles={trial.num_cycles} does not apply to trunk={self.trunk!r}, under which a task is trained "
                "once; leave it out, or use 'shared'."
            )
        if self.trunk == "random" and trial.of(Model).normalises == "affine":
            raise ValueError(
                "norm='affine' does not apply to trunk='random', where nothing trains what all tasks share, scales and "
                "shifts neither; use norm 'per-task'."
            )
        if self.trunk in OF_ONE_TASK:
            if self.heads != "shared" or not self.context.is_trivial:
                raise ValueError(
                    f"context={self.context.name!r}, heads={self.heads!r} do not apply to trunk={self.trunk!r}, where "
                    "nothing is shared that they could keep apart; use context 'none' and shared heads."
                )
        elif self.heads != "per-task" and not self.learned_contexts:
            raise ValueError(
                f"trunk={self.trunk!r} leaves tasks nothing to train once it is frozen; give heads='per-task' or "
                "learned_contexts=true, or use 'shared'."
            )

    def _check_protection(self, trial: Course) -> None:
        protect, name = self.protect, self.protect.name
        if len(protect.phases(trial.steps_per_task)) > 1 and self.num_stretches(trial) > 1:
            raise ValueError(
                f"protect={name!r} has phases of its own within each task, and needs one context for each task: leave "
                "out contexts_per_task and schedule."
            )
        if protect.asks_earlier_tasks and self.trains_all_contexts:
            raise ValueError(
                f"protect={name!r} asks networks of earlier tasks, whose contexts schedule={self.schedule.name!r} with "
                "learned_contexts=true makes anew at each step: leave out one of them."
            )
        if protect.has_views and not self.inference.is_given:
            raise ValueError(
                f"protect={name!r} answers each task with other weights; task_inference={self.inference.name!r} needs "
                "those that all tasks share: leave out one of them."
            )
        protect.check(trial)

    def _check_joint(self, trial: Course) -> None:
        if not self.joint:
            return
        stream, model = trial.of(Stream), trial.of(Model)
        if model.by_task or (model.normalises and self.has_own):
            raise ValueError(
                f"joint=true with context={self.context.name!r}, heads={self.heads!r}, norm={model.normalises!r}: a "
                "batch has images of all tasks, of which none has statistics of its own; use a model without norm, or "
                "context 'none', shared heads and norm 'static'."
            )
        if self.num_rows(trial) != trial.num_tasks or self.schedule.name != "task":
            raise ValueError(
                f"joint=true with contexts_per_task={self.contexts_per_task}, schedule={self.schedule.name!r}: all "
                "tasks are trained from the first step to the last; leave both out."
            )
        if self.protect.is_any or self.trunk != "shared":
            raise ValueError(
                f"joint=true with protect={self.protect.name!r}, trunk={self.trunk!r}: no task comes later than "
                "another; use protect 'none' and trunk 'shared'."
            )
        if stream.is_continuous:
            raise ValueError(
                f"joint=true does not apply to stream={stream.name!r}, whose tasks change as they are trained; leave "
                "it out, or use another stream."
            )

    def _check_inference(self) -> None:
        asked = f"superfluous={self.superfluous}, task_inference={self.inference.name!r}"
        if not self.context.is_mixable:
            mixable = ", ".join(name for name, context in Context.known.items() if context.is_mixable)
            raise ValueError(
                f"{asked}: method='psp' infers a task from a mix of all tasks' contexts, and context="
                f"{self.context.name!r} has none that can be mixed; leave both out, or use {mixable}, or method "
                "'supsup'."
            )
        if self.context.is_of_units and isinstance(self.inference, Inferred) and self.inference.first_layer_only:
            raise ValueError(
                f"{asked}, inference_layers='first': context={self.context.name!r} leaves the first layer's inputs as "
                "they are, which tell no task from another there; use inference_layers 'all'."
            )
        if self.heads != "shared" or self.contexts_per_task > 1 or self.schedule.name != "task":
            raise ValueError(
                f"{asked} with heads={self.heads!r}, contexts_per_task={self.contexts_per_task}, "
                f"schedule={self.schedule.name!r}: a task is inferred from one context of its own in every layer; use "
                "shared heads, and leave contexts_per_task and schedule out."
            )
