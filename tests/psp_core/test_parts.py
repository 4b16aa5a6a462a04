"""Parts, of which trials and retrieval experiments are trees: every family, every part, and every setting."""

import dataclasses
import math
import pickle
import re
import types
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp_core import Trial, TrialConfig
from psp_core.identity import DEFAULTS
from psp_core.parts import Part, Setting, every_setting, setting, settings_of
from psp_core.prediction import Prediction
from psp_core.retrieval import RetrievalConfig
from psp_core.root import Root
from psp_core.rules import at_least, positive
from tests.psp_core.settings_matrix import STARTS, TINY

ROOTS: list[type[Root]] = [Trial, RetrievalConfig, Prediction]
NEEDED = {int: (2, 6), float: (0.5, 8.0)}  # values for the settings that have no default
WRONG = {int: (-1, 0, -7), float: (-1.0, math.inf, 5.0, 0.0)}
OTHER_DEFAULTS = {  # which schema 1 had otherwise, because other parts share the name or there was no part
    "new_mask_eps", "task_inference", "sparsity", "classes_per_task", "lr_decay_steps", "inference_lr",
    "inference_steps",
}  # fmt: skip


def families() -> Iterator[type[Part]]:
    """Every family that a root's tree has."""
    seen: dict[str, type[Part]] = {}
    for root in ROOTS:
        seen |= {one.part.family: one.part for _, one in every_setting(root) if one.part}
    yield from seen.values()


FAMILIES = {family.family: family for family in families()}
PARTS = {f"{family.family}-{name}": part for family in FAMILIES.values() for name, part in family.known.items()}


def made(part: type[Part]) -> Any:
    """The part with what it needs."""
    return part(**{one.name: needed(one) for one in settings_of(part) if one.default is dataclasses.MISSING})


def needed(one: Setting) -> Any:
    """A value that the setting may have."""
    return next(value for value in NEEDED[one.kind] if not one.rule or one.rule.holds(value))


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
class TestEveryPart:
    """What holds of every part of every registry."""

    def test_its_columns_say_it(self, part: type[Part]) -> None:
        one = made(part)
        used: set[str] = set()
        row = one.columns()
        assert FAMILIES[part.family].from_columns(row, used, "") == one
        assert row.keys() - used <= one.implies.keys()
        assert row[part.family] == part.name

    def test_so_do_the_columns_with_first_names(self, part: type[Part]) -> None:
        one = made(part)
        row = one.columns(first_names=True)
        assert row[part.family] == part.formerly
        assert FAMILIES[part.family].from_columns(row, set(), "") == one

    def test_it_is_read_by_its_name_and_from_a_mapping(self, part: type[Part]) -> None:
        family, one = FAMILIES[part.family], made(part)
        nested = {each.name: getattr(one, each.name) for each in settings_of(part)}
        assert family.read({"name": part.name, **nested}) == one
        assert family.read(one) is one
        if not any(each.default is dataclasses.MISSING for each in settings_of(part)):
            assert family.read(part.name) == one

    def test_it_pickles_and_is_a_key(self, part: type[Part]) -> None:
        one = made(part)
        assert pickle.loads(pickle.dumps(one)) == one
        assert {one: 1}[made(part)] == 1

    def test_it_and_each_of_its_settings_are_explained(self, part: type[Part]) -> None:
        assert part.__doc__
        assert not part.__doc__.startswith(f"{part.__name__}("), "that is what dataclass says in place of a docstring"
        for one in settings_of(part):
            assert re.fullmatch(r"[^a-z\s].*[.]|`.*[.]|d; .*[.]", one.text, re.DOTALL), (one.column, one.text)

    def test_each_column_is_there_once(self, part: type[Part]) -> None:
        columns = [one.column for one, _ in made(part).settings()]
        assert len(columns) == len(set(columns))
        assert part.family not in columns

    def test_nothing_of_it_can_be_changed(self, part: type[Part]) -> None:
        one = made(part)
        for each in settings_of(part):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(one, each.name, getattr(one, each.name))

    def test_a_setting_that_it_does_not_have_is_refused_by_name(self, part: type[Part]) -> None:
        with pytest.raises(ValueError, match=rf"'colour' is not a setting of {part.family}='{part.name}'; .+\."):
            FAMILIES[part.family].read({"name": part.name, "colour": 1})

    def test_a_setting_that_it_needs_is_asked_for(self, part: type[Part]) -> None:
        for one in settings_of(part):
            if one.default is dataclasses.MISSING:
                with pytest.raises(ValueError, match=rf"{part.family}='{part.name}' needs \w+: [A-Z]") as error:
                    FAMILIES[part.family].read(part.name)
                assert str(error.value).endswith(".")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
class TestEveryFamily:
    """What holds of every registry."""

    def test_parts_are_registered_under_their_names(self, family: type[Part]) -> None:
        assert family.known
        for name, part in family.known.items():
            assert part.name == name
            assert part.family == family.family
            assert issubclass(part, family)

    def test_former_names_are_no_other_part_s_unless_it_claims_its_rows(self, family: type[Part]) -> None:
        for name, part in family.known.items():
            if part.formerly != name and part.formerly in family.known:
                assert "claims" in vars(part), "the rows that have the former name would be another part's"
            elif part.formerly != name:
                assert family.named(part.formerly) is part

    def test_an_unknown_name_is_answered_with_the_nearest(self, family: type[Part]) -> None:
        for name in family.known:
            with pytest.raises(ValueError, match=f"^{family.family}='{name}x' is not known; ") as error:
                family.read(f"{name}x")
            assert repr(name) in str(error.value)
            assert all(other in str(error.value) for other in family.known)

    @pytest.mark.parametrize("value", [None, 3, True, ["none"]])
    def test_what_is_no_name_is_refused(self, family: type[Part], value: object) -> None:
        with pytest.raises(ValueError, match=rf"{family.family}=.* must be a name.*; .*Known: .+\."):
            family.read(value)

    def test_parts_mean_the_same_by_a_column_that_they_share(self, family: type[Part]) -> None:
        """So that a short name can be checked before it is known whose it is."""
        first: dict[str, Setting] = {}
        for _, one in every_setting(family):
            other = first.setdefault(one.column, one)
            assert (one.kind, one.part) == (other.kind, other.part)


SETTINGS = {f"{root.__name__}-{part.name}-{one.column}": one for root in ROOTS for part, one in every_setting(root)}


def refused_value(one: Setting) -> Any:
    """A value of the right type that breaks the setting's rule."""
    kind = get_args(one.kind)[0] if isinstance(one.kind, types.UnionType) else one.kind
    wrong = [value for value in WRONG[kind] if one.rule and not one.rule.holds(value)]
    assert wrong, f"add to WRONG a value that {one.column} refuses"
    return wrong[0]


@pytest.mark.parametrize("one", [one for one in SETTINGS.values() if one.rule], ids=lambda one: one.column)
def test_a_value_that_breaks_its_rule_is_refused_with_setting_value_and_remedy(one: Setting) -> None:
    value = refused_value(one)
    with pytest.raises(ValueError, match=rf"^{one.column}={re.escape(str(value))} must .+\.$"):
        one.checked(value)


@pytest.mark.parametrize("one", SETTINGS.values(), ids=SETTINGS)
def test_a_value_of_another_type_is_refused_with_setting_value_and_remedy(one: Setting) -> None:
    if one.column == "milestones":
        pytest.skip("is set by `psp run`")
    with pytest.raises(ValueError, match=rf"^{one.column}=\{{\}} must .+\.$"):
        one.checked({})


@pytest.mark.parametrize("one", [one for one in SETTINGS.values() if one.choices], ids=lambda one: one.column)
def test_a_choice_that_is_not_there_is_answered_with_the_nearest(one: Setting) -> None:
    for choice in one.choices:
        with pytest.raises(ValueError, match=f"^{one.column}='{choice}x' is not known; did you mean '{choice}'"):
            one.checked(f"{choice}x")


@pytest.mark.parametrize("root", ROOTS)
def test_a_column_has_one_meaning_in_the_whole_tree(root: type[Root]) -> None:
    first: dict[str, Setting] = {}
    for _, one in every_setting(root):
        other = first.setdefault(one.column, one)
        assert (one.kind, one.part) == (other.kind, other.part), one.column


@pytest.mark.parametrize("root", ROOTS)
def test_a_tree_has_each_column_once(root: type[Root]) -> None:
    columns = [one.column for one, _ in root().settings()]
    assert len(columns) == len(set(columns))


def test_defaults_are_those_of_the_first_schema() -> None:
    """Or ids of stored trials would no longer be found."""
    for part, one in every_setting(Trial):
        if one.column in DEFAULTS and one.column not in OTHER_DEFAULTS:
            default = one.part.named(one.default).formerly if one.part else one.default
            assert default == DEFAULTS[one.column], (part, one.column)
    row = Trial().columns(first_names=True)
    assert {column: row[column] for column in row.keys() & DEFAULTS.keys()} == {
        column: DEFAULTS[column] for column in row.keys() & DEFAULTS.keys()
    }
    assert Trial().chosen == {}


# Reading


def nested(part: Part) -> dict[str, Any]:
    """The nested form of a part, as a study writes it."""
    own = {one.name: getattr(part, one.name) for one in settings_of(type(part))}
    content = {name: nested(value) if isinstance(value, Part) else value for name, value in own.items()}
    return ({"name": part.name} if part.family else {}) | content


@pytest.mark.parametrize("settings", STARTS, ids=lambda settings: ", ".join(map(str, settings.values())))
def test_nested_and_flat_and_stored_forms_say_the_same_trial(settings: dict[str, Any]) -> None:
    trial = TrialConfig(**{**TINY, **settings})
    assert Trial.from_flat(nested(trial)) == trial
    assert Trial.from_flat(trial.columns()) == trial
    assert Trial.from_flat(trial.columns(first_names=True)) == trial
    assert Trial.from_flat(trial.row) == trial
    parts = {one.name: getattr(trial, one.name) for one in settings_of(Trial)}
    assert Trial(**parts) == trial
    assert pickle.loads(pickle.dumps(trial)) == trial
    assert hash(Trial.from_flat(nested(trial))) == hash(trial)


CHOICES = {
    "context": ["none", "binary", "complex", "rotation"], "contexts_per_task": [1, 2], "heads": ["shared", "per-task"],
    "method": ["psp", "supsup", "hopsupsup"], "masks": ["threshold", "top-k"], "sparsity": [None, 8],
    "model": ["mlp", "small-conv"], "norm": ["static", "per-task"], "optimiser": ["sgd", "adam"], "momentum": [0, 0.9],
    "stream": ["permuting", "split"], "classes_per_task": [None, 2], "new_mask_eps": [None, 0.125],
    "task_inference": ["given", "entropy-one-shot"], "lr": [1e-3, "1e-4"], "seed": [0, 3],
}  # fmt: skip


@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in CHOICES.items()}))
def test_whatever_is_accepted_is_read_back_and_whatever_is_not_is_refused_by_a_sentence(chosen: dict[str, Any]) -> None:
    settings = {"dataset": "digits", "num_tasks": 2, "steps_per_task": 100, **chosen}
    message, trial = None, None
    try:
        trial = TrialConfig(**settings)
    except ValueError as error:
        message = str(error)
    if trial is None:
        assert message
        assert message.endswith(".")
        return
    assert Trial.from_flat(trial.columns()) == trial
    assert Trial.from_flat(nested(trial)) == trial
    assert Trial.from_flat(trial.columns(first_names=True)) == trial


def test_a_part_may_be_given_instead_of_its_name() -> None:
    trial = TrialConfig(model={"name": "mlp", "width": 64}, optimiser="adam")
    assert TrialConfig(model=trial.model, optimiser=trial.optimiser) == trial


# Parts of one's own


class Shape(Part, family="shape"):
    """A family of these tests."""


class Circle(Shape, name="circle", formerly="disc"):
    """Round."""

    radius: float = setting(1.0, "Of it.", rule=positive(), label=", r {:g}")


class Filling(Part, family="filling"):
    """Another family."""


class Plain(Filling, name="plain"):
    """Nothing."""


class Striped(Filling, name="striped"):
    """Lines."""

    number: int = setting(text="Of lines.", rule=at_least(1))
    across: Literal["rows", "columns"] = setting("rows", "Which way.", label={"columns": ", upright"})


class Square(Shape, name="square"):
    """Not round."""

    filling: Filling = setting("plain", "What is inside.", label=", {}")
    side: int = setting(2, "Of it.", column="side", tells=False)


class Picture(Root):
    """A tree."""

    at_first: ClassVar[dict[str, Any]] = {"shape": "disc", "shape_radius": 1.0}

    shape: Shape = setting("circle", "What is seen.")
    name_of: int | None = setting(None, "A number, or none.", rule=at_least(0), column="number_of")


def test_a_column_is_the_field_s_name_after_the_family_s_unless_it_has_one() -> None:
    assert [one.column for one in settings_of(Circle)] == ["shape_radius"]
    assert [one.column for one in settings_of(Square)] == ["filling", "side"]
    assert [one.column for one in settings_of(Striped)] == ["filling_number", "filling_across"]
    assert [one.column for one in settings_of(Picture)] == ["shape", "number_of"]


def test_values_are_converted_to_the_field_s_type() -> None:
    assert Circle(radius="2e1").radius == 20.0
    assert Picture(name_of="3").name_of == 3
    assert Picture(name_of=None).name_of is None
    assert Square(filling={"name": "striped", "number": 1e1}).filling == Striped(number=10)


def test_a_tree_is_read_from_short_names_nested_forms_and_paths() -> None:
    expected = Picture(shape=Square(filling=Striped(number=3), side=5))
    for form in (
        {"shape": "square", "filling": "striped", "filling_number": 3, "side": 5},
        {"shape": {"name": "square", "side": 5, "filling": {"name": "striped", "number": 3}}},
        {"shape": "square", "side": 5, "shape.filling": {"name": "striped", "number": 3}},
        {"shape": "square", "shape.side": 5, "filling": "striped", "shape.filling.number": 3},
    ):
        assert Picture.from_flat(form) == expected


def test_a_former_name_is_read_and_written_where_ids_are_made() -> None:
    assert Picture.from_flat({"shape": "disc"}) == Picture()
    assert Picture().columns()["shape"] == "circle"
    assert Picture().columns(first_names=True)["shape"] == "disc"
    assert Picture().chosen == {}
    assert Picture(shape=Circle(radius=2)).chosen == {"shape_radius": 2.0}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"shape": "circel"}, "shape='circel' is not known; did you mean 'circle'"),
        ({"shpae": "circle"}, "'shpae' is not a setting; did you mean 'shape'"),
        ({"side": 3}, "side=3 does not apply to shape='circle'; leave it out, or use 'square'."),
        ({"filling_number": 3}, "filling_number=3 does not apply to shape='circle'; leave it out, or use filling 'str"),
        ({"shape": {"name": "circle", "side": 3}}, "'side' is not a setting of shape='circle'; leave it out, or use"),
        ({"shape": "square", "filling": "striped"}, "filling='striped' needs filling_number: Of lines."),
        ({"shape": {"name": "circle"}, "shape.radius": 2, "shape_radius": 3}, "'shape_radius' is given twice"),
        ({"shape_radius": 0}, "shape_radius=0.0 must be a positive, finite number."),
        ({"shape": 3}, "shape=3 must be a name"),
        ({"shape": None}, "quote it if you meant a name"),
        ({"shape.filling.colour": 3}, "'shape.filling' has no 'colour'"),
    ],
)
def test_what_cannot_be_read_is_refused(form: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Picture.from_flat(form)


def test_a_setting_that_does_not_apply_may_say_what_stores_say_of_it() -> None:
    assert Picture.from_flat({"shape": "square", "shape_radius": 1.0}) == Picture(shape=Square())
    assert Picture.from_flat({"shape": "circle", "side": 2, "filling": "plain"}) == Picture()
    assert Picture.from_flat({"shape": "circle", "side": None}) == Picture()
    with pytest.raises(ValueError, match=r"shape_radius=2\.0 does not apply to shape='square'"):
        Picture.from_flat({"shape": "square", "shape_radius": 2.0})


def test_labels_have_a_piece_for_each_setting_that_is_not_as_usual() -> None:
    assert Square().pieces() == {}
    assert Square(filling=Striped(number=3, across="columns")).pieces() == {
        "filling": ", striped", "filling_across": ", upright",
    }  # fmt: skip
    assert Circle(radius=2.5).pieces() == {"shape_radius": ", r 2.5"}


def test_settings_that_tell_experiments_apart_are_those_that_are_not_as_usual() -> None:
    assert Picture(shape=Square(side=9)).apart() == {"shape": "square"}
    assert Picture(shape=Circle(radius=2), name_of=4).apart() == {"shape_radius": 2.0, "number_of": 4}


def test_settings_within_parts_come_after_the_part() -> None:
    picture = Picture(shape=Square(filling=Striped(number=3)))
    assert [one.column for one, _ in picture.settings()] == [
        "shape", "filling", "filling_number", "filling_across", "side", "number_of",
    ]  # fmt: skip
