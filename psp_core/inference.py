"""Who says which task a test batch is of: the study, or the network itself, by an objective and a search."""

from abc import abstractmethod
from typing import ClassVar, Final, Literal, NamedTuple

from torch import Tensor

from psp_core.parts import Part, Rule, setting
from psp_core.rules import at_least, positive
from psp_core.supermasks.inference import Superposed, binary, exhaustive, gradient_descent, one_shot
from psp_core.supermasks.objectives import entropy, superfluous

QUESTION: Final = 128
"""Samples in a batch whose task is inferred (papers.md, B3)."""


class Search(NamedTuple):
    """What finding one task among many takes.

    Attributes:
        gradients: over how many tasks each gradient of the mix is.
        mixes: how many tasks each mix is of in which these do not have equal shares, or are not all.
        networks: how many tasks' own networks are asked.
    """

    gradients: tuple[int, ...] = ()
    mixes: tuple[int, ...] = ()
    networks: int = 0


class Inference(Part, family="task_inference"):
    """How the task of a test batch becomes known.

    Attributes:
        is_given: whether the network is told the task.
    """

    is_given: ClassVar[bool] = False

    @property
    def first_layer_only(self) -> bool:
        """Whether the first layer's contexts alone are asked."""
        return False

    @property
    def asked_images(self) -> int:
        """How many images the task of a batch is inferred from; 0 where it is given."""
        return 0

    def search(self, num_tasks: int) -> Search:
        """What finding one of so many tasks takes."""
        return Search()


class Given(Inference, name="given"):
    """The network is told the task."""

    is_given: ClassVar[bool] = True


class Inferred(Inference):
    """The network finds the task in a mix of all tasks' masks or contexts.

    Attributes:
        needs_superfluous: whether the objective is about outputs that no class has.
    """

    needs_superfluous: ClassVar[bool] = False

    images: int = setting(
        1,
        "How many images of a batch of 128 the task is inferred from.",
        rule=Rule(lambda value: 1 <= value <= QUESTION, f"must lie in 1..{QUESTION}: so many images a batch has."),
        column="inference_images",
        label=", of {}",
    )
    shared_labels: bool = setting(
        False,
        "Whether tasks share their labels: then an image of a batch whose task is taken for another counts by what "
        "that other task's network answers; else the whole batch counts as wrong.",
        column="shared_labels",
        label={True: ", shared labels"},
    )

    @property
    def asked_images(self) -> int:
        """By `images`."""
        return self.images

    @abstractmethod
    def search(self, num_tasks: int) -> Search:
        """What finding one of so many tasks takes."""

    def objective(self, logits: Tensor, num_real: int) -> Tensor:
        """What falls when the right task gets more weight: the entropy of the outputs, unless a part says otherwise."""
        return entropy(logits, num_real)

    @abstractmethod
    def find(self, superposition: Superposed, x: Tensor) -> Tensor:
        """Each question's task, int64 (...), for batches x (..., B, I)."""


class _ByLayer(Inference):
    """Inference by gradients, which each layer has."""

    layers: Literal["all", "first"] = setting(
        "all",
        "Which layers' gradients say which task it is: `all`, or those of the `first` layer that has contexts. For "
        "contexts alone.",
        column="inference_layers",
        label=", {} layer",
    )

    @property
    def first_layer_only(self) -> bool:
        """By `layers`."""
        return self.layers == "first"


class _ByDescent(Inference):
    """Inference by several steps down the gradient."""

    steps: int = setting(
        text="Steps of gradient descent on the mix.", rule=at_least(1), column="inference_steps", label=", {} x"
    )
    lr: float = setting(
        text="A step's length of gradient descent on the mix, where each of K tasks begins with a share of 1 / K.",
        rule=positive(),
        column="inference_lr",
        label=" {:g}",
    )


class EntropyOneShot(Inferred, _ByLayer, name="entropy-one-shot"):
    """The task whose weight would lower the entropy of the outputs most."""

    def find(self, superposition: Superposed, x: Tensor) -> Tensor:
        """By one gradient."""
        return one_shot(superposition, x)

    def search(self, num_tasks: int) -> Search:
        """One gradient over all."""
        return Search(gradients=(num_tasks,))


class EntropyBinary(Inferred, _ByLayer, name="entropy-binary"):
    """Half of the possible tasks goes at a time, by the gradient of the entropy."""

    def find(self, superposition: Superposed, x: Tensor) -> Tensor:
        """By elimination."""
        return binary(superposition, x)

    def search(self, num_tasks: int) -> Search:
        """A gradient over all, over half of them, and so on until one is left."""
        left = [num_tasks]
        while left[-1] > 1:
            left.append(-(-left[-1] // 2))
        return Search(gradients=tuple(left[:-1]), mixes=tuple(left[1:-1]))


class EntropyDescent(Inferred, _ByLayer, _ByDescent, name="entropy-gradient-descent"):
    """The task with the largest weight once the entropy has been lowered."""

    def find(self, superposition: Superposed, x: Tensor) -> Tensor:
        """By descent."""
        return gradient_descent(superposition, x, lr=self.lr, num_steps=self.steps)

    def search(self, num_tasks: int) -> Search:
        """A gradient over all at each step."""
        steps = (num_tasks,) * self.steps
        return Search(gradients=steps, mixes=steps)


class EntropyExhaustive(Inferred, name="entropy-exhaustive"):
    """Every task's own network is asked; the surest is right. The limit of what the entropy can tell."""

    def find(self, superposition: Superposed, x: Tensor) -> Tensor:
        """By as many networks as there are tasks."""
        return exhaustive(superposition, x)

    def search(self, num_tasks: int) -> Search:
        """Every network."""
        return Search(networks=num_tasks)


class _BySuperfluous(Inferred):
    """Inference by the outputs that no class has."""

    needs_superfluous: ClassVar[bool] = True

    def objective(self, logits: Tensor, num_real: int) -> Tensor:
        """See `superfluous`."""
        return superfluous(logits, num_real)


class SuperfluousOneShot(_BySuperfluous, EntropyOneShot, name="superfluous-one-shot"):
    """The task whose weight would lower the superfluous outputs most."""


class SuperfluousBinary(_BySuperfluous, EntropyBinary, name="superfluous-binary"):
    """As `entropy-binary`, by the superfluous outputs."""


class SuperfluousDescent(_BySuperfluous, EntropyDescent, name="superfluous-gradient-descent"):
    """As `entropy-gradient-descent`, by the superfluous outputs."""
