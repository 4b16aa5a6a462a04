import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from psp_core.trial import Trial
from study.plan import merge, trial_id
from study.shipped import shipped_studies
from study.spec import StudyError, StudySpec, load_study, parse_yaml
from tests.conftest import small_study

GOOD = small_study().to_mapping()


def test_trials_are_the_product_of_axes_and_seeds() -> None:
    trials = small_study().trials()
    assert len(trials) == 2 * 2 * 2
    assert len(set(trials)) == 8
    assert {trial.lr for trial in trials} == {0.01}


def test_a_study_survives_its_own_file() -> None:
    spec = small_study()
    assert StudySpec.from_mapping(yaml.safe_load(yaml.safe_dump(spec.to_mapping()))) == spec


def test_an_axis_can_be_drawn_and_follows_from_the_file_alone() -> None:
    def drawn(**more: object) -> list[float]:
        axes = {"lr": {"log_uniform": [1e-4, 1.0], "draws": 8, **more}, "context": ["none", "binary"]}
        settings = {"dataset": "digits", "num_tasks": 3}
        spec = small_study(axes=axes, settings=settings)
        assert len(spec.trials()) == 2 * 2 * len(spec.axes["lr"])
        assert StudySpec.from_mapping(spec.to_mapping()) == spec  # as a store has the study
        return spec.axes["lr"]

    values = drawn()
    assert values == drawn(seed=0) == drawn()
    assert [sum(low <= value < 10 * low for value in values) for low in (1e-4, 1e-3, 1e-2, 1e-1)] == [2, 2, 2, 2]
    assert drawn(draws=11)[:8] == values
    assert not set(drawn(seed=1)) & set(values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axis": {}}, r"'axis' is not a key of a study; did you mean 'axes'\?"),
        ({"name": "No Good/../"}, "name='No Good/../' must be lower-case"),
        ({"axes": {"context": ["binray"]}}, r"context='binray' is not known; did you mean 'binary'\?"),
        ({"axes": {"widht": [8]}}, r"'widht' is not a setting; did you mean 'width'\?"),
        ({"axes": {"width": []}}, "width=\\[\\] must be a list of at least one value"),
        ({"axes": {"width": 8}}, "width=8 must be a list"),
        ({"axes": {"lr": {"log_uniform": [0.1, 1]}}}, "axes: lr: draws=None must be a whole number of at least 1"),
        ({"axes": {"lr": {"log_uniform": [0.1, 1], "draw": 3}}}, "draws=None must be a whole number"),
        ({"axes": {"lr": {"log_uniform": [0, 1], "draws": 3}}}, "lr=0.0 must be a positive"),
        ({"axes": {"lr": {"log_uniform": [0.1, 1], "draws": 3, "seed": "a"}}}, "seed='a' must be a whole number"),
        ({"axes": {"width": {"uniform": [4, 6], "draws": 4}}}, "draws=4 of {'uniform': .4, 6.} finds only 3 values"),
        ({"axes": {"width": [8, 8]}}, "lists 8 twice"),
        ({"axes": {"width": [0]}}, "width=0 must be at least 1"),
        ({"axes": {"width": [True]}}, "width=True must be a whole number"),
        ({"axes": {"dataset": ["digits"]}}, "'dataset' stands in axes and in settings"),
        ({"axes": {"seed": [0]}}, "list the seeds under the key 'seeds'"),
        ({"axes": [1]}, "axes=\\[1\\] must be a mapping"),
        ({"seeds": []}, "seeds=\\[\\] must be a list"),
        ({"seeds": 3}, r"seeds=3 must be a list of at least one value, such as \[3\]"),
        ({"settings": {"num_tasks": "1:30"}}, "num_tasks='1:30' must be a whole number, such as 8"),
        ({"seeds": [-1]}, "seed=-1 must be at least 0"),
        ({"settings": {"lr": -0.1}}, "lr=-0.1 must be a positive"),
        ({"settings": {"lr": "fast"}}, "lr='fast' must be a number"),
        ({"settings": {"lr": float("nan")}}, "lr=nan must be a positive"),
        ({"settings": {"num_tasks": 0}}, "num_tasks=0 must be at least 1"),
        ({"settings": {"num_tasks": 2.5}}, "num_tasks=2.5 must be a whole number"),
        ({"settings": {"permute_first": "yes"}}, "permute_first='yes' must be true or false, in these words"),
        ({"settings": {"optimiser": "adam", "momentum": 0.5}}, "momentum=0.5 does not apply to optimiser='adam'"),
        ({"settings": {"dataset": "digits", "eval_samples": 1000}}, "eval_samples=1000 is more than the 359 test"),
        ({"settings": {"milestones": [2]}}, "give num_tasks several values"),
        ({"settings": {"width": 2**40}}, "width=1099511627776 must be below"),
        ({"seeds": [10**20]}, "seed=100000000000000000000 must be below"),
        ({"settings": {"lr": 10**400}}, "lr=1000+ must be a number"),
        ({"settings": {"depth": 0}}, "width=4 does not apply at depth=0"),
        ({"settings": {"context": None}}, "context=None must be a name"),
        ({"kind": "trainig"}, r"kind='trainig' is not known; did you mean 'training'\?"),
        ({"kind": "retrieval", "axes": {}}, "'dataset' is not a setting"),
        ({"variants": {"context": "none"}}, "must be a list of mappings"),
        ({"variants": [{"momentum": 0.5}, {"momentum": 0.5}]}, "twice; list each once"),
        ({"variants": [{"width": 8}]}, "'width' stands in variants and in axes"),
        ({"variants": [{"lr": 0.5}, {"lr": 0.1}]}, "'lr' stands in settings and in every variant"),
        ({"kind": ["training"]}, r"kind=\['training'\] is not known"),
        ({"variants": [{"schedule": "local-mix"}], "axes": {}}, "trial .*combines complex contexts"),
        ({"small": {"name": "x"}}, "small: 'name' is not a key of it"),
        ({"small": {"axes": {"width": [0]}}}, "width=0 must be at least 1"),
        ({"keep_models": "yes"}, "keep_models='yes' must be true or false"),
    ],
)
def test_bad_input_is_answered_with_key_value_rule_and_remedy(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        StudySpec.from_mapping({**GOOD, **changes})


@pytest.mark.parametrize(
    ("content", "holds"),
    [(None, "it is empty"), (3, "it holds a number"), ("text", "it holds a text"), ([1, 2], "it holds a list")],
)
def test_a_file_that_is_no_mapping_is_refused(content: object, holds: str) -> None:
    with pytest.raises(StudyError, match=f"must be a mapping with the keys name.*; {holds}"):
        StudySpec.from_mapping(content)


def test_every_form_of_a_study_that_keeps_models_does() -> None:
    spec = StudySpec.from_mapping({**GOOD, "keep_models": True, "small": {"seeds": [0]}})
    again = StudySpec.from_mapping(spec.to_mapping())
    assert all(each.keep_models for each in (spec, again, spec.reduced(), spec.with_values(["width=8"])))
    assert [trial_id(trial) for trial in spec.trials()] == [
        trial_id(trial) for trial in StudySpec.from_mapping(GOOD).trials()
    ]
    assert "keep_models" not in StudySpec.from_mapping(GOOD).to_mapping()


def test_a_study_without_a_name_is_told_so() -> None:
    with pytest.raises(StudyError, match="name is missing; a study needs one"):
        StudySpec.from_mapping({key: value for key, value in GOOD.items() if key != "name"})


def test_an_unknown_setting_is_answered_with_the_nearest_and_where_all_are() -> None:
    with pytest.raises(StudyError) as error:
        StudySpec.from_mapping({**GOOD, "settings": {"bach_size": 3}})
    message = str(error.value)
    assert "did you mean 'batch_size'" in message
    assert "momentum" not in message
    command = message.partition("are listed by: ")[2]
    assert command == "psp settings"
    shown = subprocess.run([sys.executable, "-m", "study", "settings"], capture_output=True, text=True, check=True)
    named = {line.split()[0] for line in shown.stdout.splitlines() if line}
    assert {one.column for one in Trial.columns_of_settings()} <= named


def test_an_error_of_a_file_names_the_file_once_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("name: twice\nsettings:\n  width: 4\n  depth: 1\n  width: 8\n")
    with pytest.raises(StudyError) as error:
        load_study(str(path))
    assert str(error.value) == f"{path} is not valid YAML: line 5: the key 'width' is given twice: keep one."


@pytest.mark.parametrize("number", [100, 100.0, "1e2", "100"])
def test_a_whole_number_is_one_however_it_is_written(number: object) -> None:
    (trial,) = StudySpec.from_mapping({"name": "x", "settings": {"width": number}}).trials()
    assert trial.width == 100
    assert isinstance(trial.width, int)


def test_yaml_is_read_safely_and_strictly() -> None:
    with pytest.raises(StudyError, match="the key 'a' is given twice"):
        parse_yaml("{a: 1, a: 2}", "x")
    with pytest.raises(StudyError, match="not valid YAML"):
        parse_yaml("!!python/object/apply:os.getcwd []", "x")
    with pytest.raises(StudyError, match="not valid YAML"):
        parse_yaml("a: [", "x")


def test_numbers_that_yaml_takes_for_text_are_numbers() -> None:
    spec = StudySpec.from_mapping({**GOOD, "settings": {**GOOD["settings"], **yaml.safe_load("lr: 1e-4")}})
    assert spec.trials()[0].lr == 1e-4


def test_set_puts_values_in_place() -> None:
    spec = small_study().with_values(["width=16", "lr=0.1,1e-3", "seed=5,6,7"])
    assert spec.settings["width"] == 16
    assert spec.axes == {"context": ["none", "binary"], "lr": [0.1, 0.001]}
    assert spec.seeds == [5, 6, 7]


@pytest.mark.parametrize("assignment", ["num_tasks=1:30", "width=0", "wdith=3", "width=8,8", "width=8,x", "seed=-1"])
def test_what_was_set_is_blamed_and_not_the_file(assignment: str) -> None:
    with pytest.raises(StudyError, match=r"^--set"):
        small_study().with_values([assignment])


@pytest.mark.parametrize("again", [["width=16", "width=32"], ["seed=1", "seeds=2"]])
def test_a_setting_that_is_set_twice_is_refused(again: list[str]) -> None:
    with pytest.raises(StudyError, match=r"is given twice; give all its values at once: (width=16,32|seeds=1,2)"):
        small_study().with_values(again)


@pytest.mark.parametrize("assignment", ["width", "width=", "=3", "width=0", "wdith=3", "width=[", "context=binray"])
def test_bad_set_values_are_refused(assignment: str) -> None:
    with pytest.raises(StudyError):
        small_study().with_values([assignment])


@pytest.mark.parametrize("name", shipped_studies())
def test_shipped_studies_are_valid_and_named_as_their_files(name: str) -> None:
    spec = load_study(name)
    assert spec.name == name
    assert spec.about
    assert merge(spec.trials())


def test_the_quickstart_is_what_the_readme_says() -> None:
    trials = merge(load_study("quickstart").trials())
    assert len(trials) == 60
    assert {trial.row["dataset"] for trial in trials} == {"digits"}
    assert min(trial.num_tasks for trial in trials) >= 10


def test_a_study_is_found_by_name_or_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    assert load_study(str(path)) == small_study()
    with pytest.raises(StudyError, match=r"did you mean quickstart|did you mean 'quickstart'\?"):
        load_study("quikstart")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="cannot be read as text"):
        load_study(str(path))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["name", "about", "axes", "seeds", "settings", "width", "lr", "context"]) | st.text(max_size=5)


def mostly_right(names: list[str], right: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[object]:
    """Mappings of real keys to values that are mostly of the right kind."""
    return st.fixed_dictionaries({}, optional={name: right.get(name, values) | values for name in names})


few = st.integers(-1, 3)
almost_studies = st.fixed_dictionaries(
    {"name": st.just("x")},
    optional={
        "axes": mostly_right(["width", "lr", "context"], {"width": st.lists(few, max_size=3)}) | values,
        "seeds": st.lists(few, max_size=3) | values,
        "settings": mostly_right(["dataset", "depth", "momentum"], {"depth": few, "dataset": st.just("digits")})
        | values,
    },
)


@given(almost_studies | st.dictionaries(keys, values, max_size=5) | values)
def test_whatever_a_file_holds_it_is_a_study_or_an_error_that_says_why(content: object) -> None:
    with contextlib.suppress(StudyError):
        assert StudySpec.from_mapping(content).trials()


def test_variants_vary_together_and_stand_before_settings() -> None:
    variants = [{"context": "none"}, {"context": "complex", "schedule": "local-mix"}, {"lr": 0.5}]
    spec = small_study(variants=variants, axes={"width": [4, 8]})
    trials = spec.trials()
    assert len(trials) == 3 * 2 * 2
    assert {(t.context, t.schedule, t.lr) for t in trials} == {
        ("none", "task", 0.01),
        ("complex", "local-mix", 0.01),
        ("binary", "task", 0.5),
    }
    assert spec.varying == ["context", "schedule", "lr", "width"]
    assert StudySpec.from_mapping(yaml.safe_load(yaml.safe_dump(spec.to_mapping()))) == spec


def test_set_chooses_among_variants() -> None:
    variants = [{"context": "none"}, {"context": "complex"}, {"context": "complex", "contexts_per_task": 5}]
    spec = small_study(variants=variants, axes={"width": [4]}, seeds=[0])
    assert [trial.contexts_per_task for trial in spec.with_values(["context=complex"]).trials()] == [1, 5]
    slow = spec.with_values(["contexts_per_task=1"]).trials()  # the default counts where a variant is silent
    assert [(trial.context, trial.contexts_per_task) for trial in slow] == [("none", 1), ("complex", 1)]
    with pytest.raises(StudyError, match="no variant of the study has 'rotation'"):
        spec.with_values(["context=complex,rotation"])


def flat_and(*others: dict[str, object], **changes: object) -> list[StudySpec]:
    """The same study written in several ways: as `changes` say, and as each of the others does instead."""
    return [StudySpec.from_mapping({**GOOD, "axes": {}, **changes, **other}) for other in ({}, *others)]


MASKS = {"dataset": "digits", "method": "supsup", "masks": "top-k", "sparsity": 8}


@pytest.mark.parametrize(
    "nested",
    [
        {"dataset": "digits", "method": {"name": "supsup", "masks": {"name": "top-k", "sparsity": 8}}},
        {"dataset": {"name": "digits"}, "method": "supsup", "masks": {"name": "top-k", "sparsity": "8"}},
        {"dataset": "digits", "method": {"name": "supsup"}, "masks": "top-k", "method.masks.sparsity": 8},
        {"dataset": "digits", "method": {"name": "supsup", "masks": "top-k"}, "masks.sparsity": 8},
    ],
)
def test_a_part_may_be_written_with_its_settings_or_beside_them(nested: dict[str, object]) -> None:
    flat, other = flat_and({"settings": nested}, settings=MASKS)
    assert other.to_mapping() == flat.to_mapping()
    assert other.trials() == flat.trials()


def test_paths_are_axes_as_short_names_are() -> None:
    by_name, by_path, nested = flat_and(
        {"axes": {"model.width": [4, 8]}}, {"axes": {"model": {"width": [4, 8]}}}, axes={"width": [4, 8]}
    )
    assert by_name == by_path == nested
    assert by_path.with_values(["model.width=16"]) == by_name.with_values(["width=16"])
    assert by_path.with_values(["width=16"]).settings["width"] == 16


def test_a_list_within_settings_is_one_more_axis() -> None:
    shared, both = {"dataset": "digits", "depth": 1}, [4, 8]
    axis, nested, beside = flat_and(
        {"settings": {"dataset": "digits", "model": {"depth": 1, "width": both}}, "axes": {}},
        {"settings": {**shared, "width": both}, "axes": {}},
        settings=shared,
        axes={"width": both},
    )
    assert axis == nested == beside


def test_a_list_within_a_variant_makes_several_of_it() -> None:
    (spec,) = flat_and(
        variants=[
            {"method": {"name": "psp", "context": ["none", "binary"]}},
            {"method": {"name": "supsup", "masks": ["threshold", {"name": "top-k", "sparsity": [4, 8]}]}},
        ]
    )
    assert spec.variants == [
        {"method": "psp", "context": "none"},
        {"method": "psp", "context": "binary"},
        {"method": "supsup", "masks": "threshold"},
        {"method": "supsup", "masks": "top-k", "sparsity": 4},
        {"method": "supsup", "masks": "top-k", "sparsity": 8},
    ]


def test_a_small_form_may_be_nested_too() -> None:
    small = {"axes": {"model.width": [2]}, "settings": {"stream": {"permute_first": True}, "model": {"depth": [1, 2]}}}
    spec = small_study(small=small).reduced()
    assert spec.axes == {"context": ["none", "binary"], "width": [2], "depth": [1, 2]}
    assert spec.settings["permute_first"] is True


def test_a_nested_study_survives_its_own_file() -> None:
    (spec,) = flat_and(settings={"dataset": "digits", "model": {"width": [4, 8]}, "stream": {"permute_first": True}})
    assert StudySpec.from_mapping(yaml.safe_load(yaml.safe_dump(spec.to_mapping()))) == spec


MASKS_OF = "settings: 'sparsity' is not a setting of masks='threshold'; leave it out, or use 'top-k', which has it"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"model": {"widht": 4}}}, r"settings: 'widht' is not a setting of model; did you mean 'width'\?"),
        ({"settings": {"method": {"name": "supsub"}}}, r"method='supsub' is not known; did you mean 'supsup'\?"),
        ({"settings": {"masks": {"name": "top-k", "sparsty": 4}}}, "of masks='top-k'; did you mean 'sparsity'"),
        ({"settings": {"method": {"masks": {"name": "threshold", "sparsity": 4}}}}, MASKS_OF),
        ({"settings": {"method": {"name": "supsup", "context": "none"}}}, "leave it out, or use 'psp', which has it"),
        ({"settings": {"method": {"name": "hopsupsup", "recovery_lr": 4}}}, "there it is called 'lr'"),
        ({"settings": {"context": {"name": "binary", "density": 4}}}, "of context='binary'; it has none: leave it out"),
        ({"settings": {"model": {"width": 4}, "width": 8}}, "'width' is given twice, by 'model' and by 'width'"),
        ({"axes": {"width": [4], "model.width": [8]}}, "axes: 'width' is given twice, by 'width' and by 'model.width'"),
        ({"settings": {"model.width": 4}, "axes": {"width": [4]}}, "'width' stands in axes and in settings"),
        ({"settings": {"width": [4, 8]}, "axes": {"width": [4]}}, "'width' stands in axes and in settings"),
        ({"settings": {"width": [4, 4]}}, "settings width lists 4 twice"),
        ({"settings": {"width": []}}, r"settings width=\[\] must be a list of at least one value"),
        ({"variants": [{"width": []}]}, r"variants width=\[\] must be a list of at least one value"),
        ({"settings": {"model": {"name": None}}}, "model=None must be a name"),
        ({"settings": {"model": {"width": 0}}}, "settings: width=0 must be at least 1"),
        ({"settings": {"method": "supsup", "masks": {"name": "top-k"}}}, "masks='top-k' needs sparsity: "),
        (
            {"axes": {"model": {"name": "mlp"}}},
            r"axes model='mlp' must be a list of at least one value, such as \[mlp\]",
        ),
        ({"axes": {"masks": [{"name": "top-k", "sparsity": 4}]}}, "which has settings of its own: list it in variants"),
        ({"axes": {"model.widht": [4]}}, "'model.widht' leads nowhere: 'model' has no 'widht'; did you mean 'width'"),
        ({"axes": {"modl.width": [4]}}, "'modl.width' leads nowhere: 'modl' is no part; did you mean 'model'"),
        (
            {"axes": {"model.width.x": [4]}},
            "leads nowhere: 'model.width' has no settings of its own; use 'model.width'",
        ),
    ],
)
def test_a_wrong_nested_setting_is_answered_as_it_was_written(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        StudySpec.from_mapping({**GOOD, "axes": {}, **changes})


@pytest.mark.parametrize("assignment", ["model.widht=3", "model.width.x=3", "modl.width=3", "model.width=0"])
def test_a_path_that_was_set_wrongly_is_blamed(assignment: str) -> None:
    with pytest.raises(StudyError, match=r"^--set"):
        small_study().with_values([assignment])


def test_set_knows_what_a_variant_does_not_say() -> None:
    spec = small_study(variants=[{"context": "binary"}, {"method": "supsup"}], axes={"width": [4]}, seeds=[0])
    assert [trial.row["method"] for trial in spec.with_values(["context=none"]).trials()] == ["supsup"]
    assert [trial.row["method"] for trial in spec.with_values(["method=psp"]).trials()] == ["psp"]


def test_a_small_form_stands_in_place_of_what_it_names() -> None:
    spec = small_study(small={"axes": {"num_tasks": [2]}, "settings": {"width": 2}, "seeds": [7]})
    small = spec.reduced()
    assert small.name == "small-small"
    assert {(t.width, t.num_tasks, t.seed) for t in small.trials()} == {(2, 2, 7)}
    assert {t.context for t in small.trials()} == {"none", "binary"}
    assert not small.small
    assert {t.width for t in spec.trials()} == {4, 8}
    assert not spec.with_values(["width=4"]).small  # no longer the study that it is the small form of
    with pytest.raises(StudyError, match="has no small form"):
        small.reduced()


def test_every_shipped_study_but_the_quickstart_has_a_small_form() -> None:
    specs = [load_study(name) for name in shipped_studies()]
    assert [spec.name for spec in specs if not spec.small] == ["quickstart"]


def test_a_retrieval_study_has_trials_of_its_own() -> None:
    spec = StudySpec.from_mapping({"name": "r", "kind": "retrieval", "axes": {"width": [64, "128"]}, "seeds": [0, 1]})
    assert {(trial.stored_name, trial.row["width"], trial.row["seed"]) for trial in spec.trials()} == {
        ("retrieval", width, seed) for width in (64, 128) for seed in (0, 1)
    }
    assert merge(spec.trials()) == spec.trials()
