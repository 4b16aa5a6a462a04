"""No context in a complex network: the baseline of complex contexts."""

from typing import ClassVar

from psp_core.contexts.none import NoContext


class PlainComplex(NoContext, name="plain-complex"):
    """c(k) = 1 for every task, with complex weights and activations: all tasks share the same weights.

    The network is that of complex contexts without the contexts, so the two differ in these alone.
    Orthogonal, 0 bytes per task. "Complex without context" in the released code (papers.md, A7).
    """

    binding: ClassVar[str] = "complex product"
    is_complex: ClassVar[bool] = True
