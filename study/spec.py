"""The study file: a declared set of trials, validated whole before anything runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from itertools import product
from pathlib import Path
from typing import Any, Final, Self

from psp_core.experiment import FIRST_KIND, Experiment
from psp_core.experiments import EXPERIMENTS
from psp_core.messages import did_you_mean
from study.choices import Choice, choices_of, settled, written
from study.reading import Reader, Row, StudyError, mapping
from study.shipped import shipped_studies
from study.tuning import KEYS as TUNE_KEYS
from study.tuning import MEASURE_KEYS, TENTH, Tune, refuse_keys, stages
from study.yaml_text import load_yaml

__all__ = ["KEYS", "PROVENANCE", "StudyError", "StudySpec", "load_study", "parse_yaml"]

KEYS: Final = (
    "name",
    "about",
    "kind",
    "variants",
    "axes",
    "seeds",
    "settings",
    "tune",
    "measure",
    "small",
    "keep_models",
)
SMALL_KEYS: Final = ("variants", "axes", "seeds", "settings", "tune", "measure")
PROVENANCE: Final = "ran_with"  # what a store's study.yaml adds; not part of the study
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """A validated study. Its settings have their short names, however the study file says them.

    Attributes:
        name: lower-case letters, digits and hyphens.
        about: one line for `psp list`.
        kind: what a trial is: `training` of a network, `retrieval` of given models (`psp_core.retrieval`), or
            `prediction`, training beside what theory predicts of it (`psp_core.prediction`).
        variants: settings that vary together, such as a context and how it is chosen; each is a mapping.
        axes: the settings that vary alone, each with its values.
        seeds: one trial for each variant, combination of the axes' values, and seed.
        settings: what all trials share; every other setting has its default.
        tune: how settings are chosen by the study itself, where the study has `study.choices.Choice` in place of a
            value; None where everything is given.
        measure: in what the trials differ whose settings were chosen so.
        small: what the reduced form of the study says instead, under the same keys; see `reduced`.
        keep_models: whether each trial's trained network is kept (`psp_core.load_model`). It changes no result.
        whole: of a study changed by `--set` or `--only`, the one that was changed; else None.
        assignments: what `--set` changed.
        only: the settings that its trials have one of several values of, by `--only`; every trial where there are none.
    """

    name: str
    about: str
    kind: str
    variants: list[dict[str, Any]]
    axes: dict[str, list[Any]]
    seeds: list[int]
    settings: dict[str, Any]
    tune: Tune | None
    measure: dict[str, Any]
    small: dict[str, Any]
    keep_models: bool = False
    whole: "StudySpec | None" = field(default=None, compare=False)
    assignments: tuple[str, ...] = field(default=(), compare=False)
    only: Mapping[str, Sequence[Any]] = field(default_factory=dict, compare=False)

    @classmethod
    def from_mapping(cls, content: object) -> Self:
        """Validate a study file's content.

        Raises:
            StudyError: anything is wrong with it.
        """
        if not isinstance(content, Mapping):
            holds = "it is empty" if content is None else f"it holds {_in_words(content)}"
            raise StudyError(f"a study file must be a mapping with the keys {', '.join(KEYS)}; {holds}.")
        for key in content:
            if key not in (*KEYS, PROVENANCE):
                raise StudyError(f"{key!r} is not a key of a study; {did_you_mean(key, KEYS)}")
        if "name" not in content:
            raise StudyError("name is missing; a study needs one, such as 'name: my-study'.")
        name = content["name"]
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise StudyError(f"name={name!r} must be lower-case letters, digits and hyphens, such as 'my-study'.")
        kind = content.get("kind", FIRST_KIND)
        if not isinstance(kind, str) or kind not in EXPERIMENTS:
            raise StudyError(f"kind={kind!r} is not known; {did_you_mean(kind, EXPERIMENTS)}")
        keep_models = content.get("keep_models", False)
        if not isinstance(keep_models, bool):
            raise StudyError(f"keep_models={keep_models!r} must be true or false.")
        reader = Reader(EXPERIMENTS[kind], chooses=bool(content.get("tune")))
        axes = reader.axes(content)
        settings, listed = reader.settings(content)
        variants = reader.variants(content)
        for key in axes.keys() & (settings.keys() | listed.keys()):
            raise StudyError(f"{key!r} stands in axes and in settings; a setting either varies or is shared: keep one.")
        for key in set.intersection(*map(set, variants)) & settings.keys() if variants else ():
            raise StudyError(f"{key!r} stands in settings and in every variant, which goes before: leave it out there.")
        axes |= listed
        for key in {key for variant in variants for key in variant} & axes.keys():
            raise StudyError(f"{key!r} stands in variants and in axes; it varies alone or with others: keep one.")
        tune, measure = mapping(content, "tune"), mapping(content, "measure")
        refuse_keys("measure", measure, MEASURE_KEYS, reader.root)
        if "seeds" in measure and "seeds" in content:
            raise StudyError("seeds stand in the study and in measure; they are the same ones: keep one.")
        measured, several = reader.settings(measure)
        for key in several:
            raise StudyError(f"measure: settings {key} has several values; list them under axes.")
        if tune and kind != FIRST_KIND:
            raise StudyError(f"tune does not apply to kind={kind!r}, which measures no accuracy; leave it out.")
        spec = cls(
            name=name,
            about=str(content.get("about") or ""),
            kind=kind,
            variants=variants,
            axes=axes,
            seeds=reader.values("", "seeds", measure.get("seeds", content.get("seeds", [0]))),
            settings=settings,
            tune=Tune.read(tune, reader) if tune else None,
            measure=measured,
            small=dict(mapping(content, "small")),
            keep_models=keep_models,
        )
        if spec.tune:
            spec.tune.check(spec.cells(), spec.seeds)
        elif spec.measure:
            raise StudyError(
                "measure: settings are of trials whose own were chosen, and nothing is: there is no 'tune'."
            )
        spec.trials()  # combinations too are checked before anything runs
        spec._check_listed()
        if spec.small:
            spec.reduced()
        return spec

    def reduced(self) -> Self:
        """The same study in its reduced form, which shows the effect in minutes: `NAME-small`.

        Its axes and settings stand in place of the study's of the same name, its variants and seeds in
        place of all.

        Raises:
            StudyError: the study has none, or it is not valid.
        """
        if not self.small:
            raise StudyError(f"study {self.name!r} has no small form; reduce it with --set, or give its file 'small:'.")
        for key in self.small:
            if key not in SMALL_KEYS:
                raise StudyError(f"small: {key!r} is not a key of it; {did_you_mean(key, SMALL_KEYS)}")
        reader = Reader(self.root, chooses=self.tune is not None or "tune" in self.small)
        settings, listed = reader.settings(self.small)
        axes = reader.axes(self.small) | listed
        measure = dict(mapping(self.small, "measure"))
        refuse_keys("small: measure", measure, MEASURE_KEYS, self.root)
        content = {
            **self.to_mapping(),
            "name": f"{self.name}-small",
            "about": f"{self.about} Reduced.".lstrip(),
            "axes": {key: values for key, values in {**self.axes, **axes}.items() if key not in settings},
            "settings": {key: value for key, value in {**self.settings, **settings}.items() if key not in axes},
            "variants": self.small.get("variants", self.variants),
            "seeds": measure.pop("seeds", self.small.get("seeds", self.seeds)),
            "tune": _over(self.tune.to_mapping() if self.tune else {}, mapping(self.small, "tune")),
            "measure": {"settings": {**self.measure, **mapping(measure, "settings")}},
            "small": {},
        }
        return type(self).from_mapping(content)

    def with_values(self, assignments: list[str]) -> "StudySpec":
        """The study with `key=v1,v2` put in place of what it says, as `--set` does.

        Raises:
            StudyError: an assignment is not of that form, or its values are wrong.
        """
        if not assignments:
            return self
        axes, settings, seeds = dict(self.axes), dict(self.settings), self.seeds
        variants, reader = self.variants, Reader(self.root)
        tune = self.tune.to_mapping() if self.tune else {}
        given: dict[str, str] = {}
        for assignment in assignments:
            key, text = _assigned("--set", assignment)
            block, dot, inner = key.partition(".")
            if block == "tune" and dot:
                tune = _over(tune, self._tuning_with(inner, text, assignment))
                continue
            key = "seeds" if key in ("seed", "seeds") else reader.short_name("--set", key)
            if key in given:
                raise StudyError(f"--set {key} is given twice; give all its values at once: {key}={given[key]},{text}")
            given[key] = text
            values = _listed(text, f"--set {assignment}")
            if any(key in variant for variant in variants):  # of the variants, those that have one of the values
                chosen = reader.values("--set", key, values)
                has = [self._value(variant, key) for variant in variants]
                takes_any = any(isinstance(value, Choice) for value in has)
                variants = [
                    {**variant, key: each} if isinstance(value, Choice) else variant
                    for variant, value in zip(variants, has, strict=True)
                    for each in (chosen if isinstance(value, Choice) else [value])
                    if each in chosen
                ]
                for value in chosen:
                    if value not in has and not takes_any:
                        raise StudyError(f"--set {assignment}: no variant of the study has {value!r}; see its file.")
                continue
            if key == "seeds":
                seeds = reader.values("--set", key, values)
            elif len(values) > 1:
                settings.pop(key, None)
                axes[key] = reader.values("--set", key, values)
            else:
                axes.pop(key, None)
                settings[key] = reader.value("--set", key, values[0])
        measure = self.measure
        if not any(choices_of(row) for row in (settings, *variants)):
            tune, settings, measure = {}, {**settings, **measure}, {}
        changed = type(self).from_mapping(
            {
                **self.to_mapping(),
                "variants": variants,
                "axes": axes,
                "seeds": seeds,
                "settings": settings,
                "tune": tune,
                "measure": {"settings": measure},
                "small": {},  # of the study as it was written
            }
        )
        return replace(changed, whole=self, assignments=tuple(assignments))

    def with_only(self, assignments: list[str]) -> "StudySpec":
        """The part of the study whose trials have one of the values of each `key=v1,v2`, as `--only` says.

        Its trials are those of the study, with the same ids. Settings that the study chooses, and the seeds of its
        tuning, stay as they are.

        Raises:
            StudyError: an assignment is not of that form, or no trial of the study has such a value.
        """
        only, reader = dict[str, list[Any]](), Reader(self.root)
        for assignment in assignments:
            key, text = _assigned("--only", assignment)
            key = "seeds" if key in ("seed", "seeds") else reader.short_name("--only", key)
            if key in only:
                raise StudyError(f"--only {key} is given twice; give all its values at once: {key}=v1,v2.")
            only[key] = reader.values("--only", key, _listed(text, f"--only {assignment}"))
            there = (
                self.seeds if key == "seeds" else [written({key: self._value(each, key)})[key] for each in self.cells()]
            )
            for value in only[key]:
                if value not in there:
                    known = ", ".join(dict.fromkeys(map(str, there)))
                    raise StudyError(f"--only {assignment}: no trial of the study has {value!r}; it has {known}.")
        part = replace(self, seeds=only.pop("seeds", self.seeds), only=only, whole=self.whole or self)
        if not part.cells():
            raise StudyError(f"--only {' '.join(assignments)}: no trial of the study has all of this.")
        return part if assignments else self

    def _value(self, variant: dict[str, Any], key: str) -> Any:  # noqa: ANN401 - of any setting
        """What a setting is in the trials of a variant, also where the variant does not say it."""
        if key in variant:
            return variant[key]
        first = {axis: values[0] for axis, values in self.axes.items()}
        row = {**self.settings, **first, **variant}
        return row[key] if isinstance(row.get(key), Choice) else self.root.from_flat(settled(row)).row.get(key)

    def _tuning_with(self, key: str, text: str, assignment: str) -> dict[str, Any]:
        """What `--set tune.KEY=...` puts into the block."""
        if self.tune is None:
            raise StudyError(f"--set {assignment}: the study has no block 'tune'.")
        values = _listed(text, f"--set {assignment}")
        value = values if key == "seeds" else values[0] if len(values) == 1 else values
        return {key: value} if key in TUNE_KEYS else {"settings": {key: value}}

    @property
    def root(self) -> type[Experiment]:
        """What each of its trials is."""
        return EXPERIMENTS[self.kind]

    @property
    def varying(self) -> list[str]:
        """The settings that tell its trials apart, but for the seed."""
        chosen = [key for cell in self.cells() for key in choices_of(cell)]
        return list(dict.fromkeys([*(key for variant in self.variants for key in variant), *self.axes, *chosen]))

    def to_mapping(self) -> dict[str, Any]:
        """The study as a study file holds it."""
        content: dict[str, Any] = {key: getattr(self, key) for key in KEYS}
        content["settings"], content["variants"] = written(self.settings), [written(row) for row in self.variants]
        content["tune"] = self.tune.to_mapping() if self.tune else {}
        content["measure"] = {"settings": self.measure} if self.measure else {}
        return {key: value for key, value in content.items() if value or key not in ("tune", "measure", "keep_models")}

    def trials(self) -> list[Experiment]:
        """Every trial of the study: the product of the variants, the axes and the seeds.

        Of a study that chooses settings, all trials that this takes too, and stand-ins for those that are not known
        before anything ran (`study.tuning.stages`).

        Raises:
            StudyError: a combination is impossible.
        """
        return [trial for stage in stages(self)[0] for trial in (*stage.trials, *stage.to_come)]

    def _check_listed(self) -> None:
        """Refuse a listed value that no trial can have beside the first ones, whether or not a search comes to it.

        Raises:
            StudyError: the combination is impossible.
        """
        for cell in self.cells():
            for column, choice in choices_of(cell).items():
                for value in () if choice.is_range else choice.values:
                    self.tuning({**settled(cell), column: value})

    def cells(self) -> list[dict[str, Any]]:
        """Every combination of a variant and the axes' values, choices included, of the part that is meant."""
        every = [
            {**self.settings, **variant, **dict(zip(self.axes, values, strict=True))}
            for variant, *values in product(self.variants or [{}], *self.axes.values())
        ]
        return [cell for cell in every if all(self._value(cell, key) in some for key, some in self.only.items())]

    def measured(self, row: Row) -> list[Experiment]:
        """The measured trials with these settings, one for each seed.

        Raises:
            StudyError: a combination is impossible.
        """
        return [self._trial({**row, **self.measure, "seed": seed}) for seed in self.seeds]

    def tuning(self, row: Row) -> list[Experiment]:
        """The tuning trials with these settings, one for each tuning seed.

        Raises:
            StudyError: a combination is impossible.
        """
        assert self.tune
        if row.get("max_bytes") is not None:  # as wide as what is measured, which may have more tasks
            row = {"width": self.measured(row)[0].row["width"], **row}
        row = {**row, **self.tune.settings}
        number = self.tune.validation or self._trial({**row, "seed": 0}).dataset.sizes.num_train // TENTH
        row |= {"validation": number, "eval_on": "validation"}
        return [self._trial({**row, "seed": seed}) for seed in self.tune.seeds]

    def _trial(self, row: Row) -> Experiment:
        try:
            return self.root.from_flat(row)
        except ValueError as error:
            said = {key: row[key] for key in (*self.varying, "seed") if key in row}
            raise StudyError(f"study {self.name!r}, trial {said}: {error}") from None


def _over(content: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """A block with another one over it: the settings of both, and every other key of the second."""
    settings = {**mapping(content, "settings"), **mapping(more, "settings")}
    return {**content, **more} | ({"settings": settings} if settings else {})


def _assigned(option: str, assignment: str) -> tuple[str, str]:
    """The key of `key=value1,value2`, and the text of its values."""
    key, equals, text = assignment.partition("=")
    if not equals or not text.strip():
        raise StudyError(f"{option} {assignment!r} must read key=value or key=value1,value2.")
    return key, text


def _listed(text: str, source: str) -> list[object]:
    """The values of `value1,value2`."""
    return [parse_yaml(value, source) for value in text.split(",")]


def load_study(study: str) -> StudySpec:
    """A study by its shipped name, or from a path to a YAML file.

    Raises:
        StudyError: there is none, or it is not valid.
    """
    path: Path | Traversable = Path(study)
    shipped = shipped_studies()
    if study in shipped:
        path = shipped[study]
    elif not path.is_file():
        raise StudyError(f"study={study!r} is neither a file nor a shipped study; {did_you_mean(study, shipped)}")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"), study)
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{study} cannot be read as text ({error}); a study is a YAML file in UTF-8.") from None
    try:
        return StudySpec.from_mapping(content)
    except StudyError as error:
        raise StudyError(f"{study}: {error}") from None


def parse_yaml(text: str, source: str) -> object:
    """What a YAML text holds; see `load_yaml`.

    Raises:
        StudyError: the text is not YAML.
    """
    try:
        return load_yaml(text)
    except ValueError as error:
        raise StudyError(f"{source} is not valid YAML: {error}") from None


def _in_words(content: object) -> str:
    kinds = ((bool, "true or false"), (str, "a text"), (int | float, "a number"), (list, "a list"))
    return next((words for kind, words in kinds if isinstance(content, kind)), "something else")
