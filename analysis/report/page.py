"""Writes the report: one HTML file that holds its data, its charts' library and its style."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from analysis.compare import Comparison
from analysis.report import specs
from analysis.report.bundle import vega as vega_script
from analysis.report.chart import Chart, palette
from analysis.report.charts import charts
from analysis.report.findings import findings
from analysis.report.matrices import packed
from analysis.report.progress import Progress
from analysis.report.shown import Shown, look_of
from analysis.report.study_words import sentence
from analysis.report.trials import cost_sentence, table_of_trials, tables_of
from analysis.report.wording import listed
from analysis.roles import text_of
from analysis.several_stores import names_of, without_query
from analysis.store import StoredTrials
from analysis.summary import summarise

SHORT: Final = {
    "capacity": "Capacity",
    "law": "Capacity by width",
    "first-task": "Through time",
    "forgetting": "Forgetting",
    "by-setting": "By setting",
    "learning-rate": "Learning rate",
    "by-cost": "Accuracy by cost",
    "predictions": "Predictions",
    "crosstalk": "Crosstalk",
}
TABLE: Final = jinja2.Template(
    '<div class="scroll" role="region" aria-label="{{ label }}" tabindex="0"><table><thead><tr>'
    '{% for head in heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead><tbody>'
    '{% for row in rows %}<tr>{% for cell in row %}{% if loop.first %}<th scope="row">{{ cell }}</th>'
    "{% else %}<td>{{ cell }}</td>{% endif %}{% endfor %}</tr>{% endfor %}</tbody></table></div>",
    autoescape=True,
)


def page(
    store: StoredTrials, names: Sequence[str], progress: Sequence[Progress | None], compared: Sequence[Comparison] = ()
) -> str:
    """The page.

    Args:
        store: what the stores hold.
        names: of the stores.
        progress: what each store's study plans; None where that is not known.
        compared: trials beside published values.
    """
    shown = Shown.of(store)
    known = [one for one in progress if one]
    drawn = charts(shown)
    of = known[0] if len(known) == len(names) == 1 else None
    shorter, names = names_of(names), [without_query(name) for name in names]
    looks = {value: look_of(look) for value, look in shown.looks.items()}
    summary = None if store.evals.empty else summarise(store)
    results, costs = tables_of(summary) if summary else ({}, {})
    columns, rows = table_of_trials(shown)
    evals = store.evals
    matrices = packed(evals, shown.numbers) if len(evals) else None
    data = {
        "trials": _trials(shown),
        "facets": [asdict(facet) | {"single": facet.is_single} for facet in shown.facets],
        "looks": {value: {"dash": look["dash"], "path": look["shape"]} for value, look in looks.items()},
        "dashes": palette(shown).dashes if shown.dashes else {},
        "charts": [_chart(one) for one in drawn],
        "table": {"columns": [asdict(column) for column in columns], "rows": rows, "sort": _first_sort(columns)},
        "matrices": matrices,
        "heat": specs.heat() if matrices else None,
        "through": specs.through() if matrices else None,
    }
    return _template().render(
        title=of.name if of else listed(shorter) if len(shorter) < 4 else f"{len(shorter)} stores",
        kicker="Models in superposition: a capacity study" if len(names) == 1 else f"{len(names)} stores side by side",
        about=of.about if of else "",
        sentence=with_curves(sentence(store, of), list(looks)),
        bars=[_bar(one, name if len(names) > 1 else "") for one, name in zip(progress, shorter, strict=True) if one],
        findings=findings(store, of, compared, summary),
        with_curves=lambda text: with_curves(text, list(looks)),
        charts=[asdict(one) | {"short": SHORT[one.name]} for one in drawn],
        facets=shown.facets,
        has_matrices=matrices is not None,
        every=matrices["every"] if matrices else 1,
        looks=list(looks.values()),
        summary=_cells(results) | {"notes": summary.notes} if summary else None,
        costs=_cells(costs) | {"sentence": cost_sentence(shown)},
        compared=[_compared(one) for one in compared],
        sources=[_source(one, name) for one, name in zip(progress, names, strict=True)],
        table=_table,
        data=Markup(_script_json(data)),
        vega=Markup(_in_script(vega_script())),
        css=Markup(_file("page.css")),
        script=Markup(_in_script(_file("page.js"))),
        footer=f"Made by psp report on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC of {', '.join(names)}. "
        "Charts: Vega and Vega-Lite (University of Washington Interactive Data Lab, BSD licence), within this file.",
    )


def with_curves(text: str, hues: Sequence[str]) -> Markup:
    """A sentence whose names of curves, which stand in marks, are bold and have their colour."""
    parts = []
    for place, part in enumerate(text.split("`")):
        if place % 2 == 0:
            parts.append(escape(part))
            continue
        style = Markup(' style="--dot:var(--hue-{})"').format(hues.index(part)) if part in hues else ""
        parts.append(Markup('<b class="curve{}"{}>{}</b>').format(" dotted" if style else "", style, part))
    return Markup("").join(parts)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_file("page.html"))


def _file(name: str) -> str:
    return (files("analysis.report") / name).read_text(encoding="utf-8")


def _in_script(text: str) -> str:
    """A script, of which no part ends its element."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _script_json(content: object) -> str:
    """JSON that may stand in an element of HTML."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> Markup:
    return Markup(TABLE.render(heads=heads, rows=rows, label=label))


def _trials(shown: Shown) -> dict[str, Any]:
    """The columns by which trials are chosen, each as texts, by trial's number."""
    trials = shown.trials
    names = [name for name in ("hue", "style", "panel", *shown.apart) if name in trials]
    found = {
        name: trials[name]
        .map(lambda value: value if isinstance(value, str) else text_of(None if pd.isna(value) else value))
        .tolist()
        for name in names
    }
    return found | {
        "id": trials["trial_id"].tolist(),
        "lr": [text_of(value) for value in trials["lr"]],
        "seed": [text_of(value) for value in trials["seed"]],
        "series": trials["series"].tolist(),
        "best": trials["is_best"].astype(int).tolist(),
    }


def _chart(chart: Chart) -> dict[str, Any]:
    """What the script needs of a chart."""
    names = ("name", "spec", "columns", "rows", "law", "law_columns", "free_of", "choices", "has_panels", "series")
    return {name: getattr(chart, name) for name in names}


def _first_sort(columns: Sequence[Any]) -> int:
    """The table begins with the most accurate trials; else with its first column."""
    return next((place for place, column in enumerate(columns) if column.title == "accuracy"), 0)


def _cells(columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {"heads": list(columns), "rows": [list(row) for row in zip(*columns.values(), strict=True)]}


def _compared(one: Comparison) -> dict[str, Any]:
    """A comparison's table."""
    return {"title": one.title, "note": one.note, "heads": one.heads, "rows": list(one.rows())}


def _bar(progress: Progress, name: str) -> dict[str, Any]:
    """How far a study is."""
    parts = [
        ("done", progress.done - progress.diverged, "measured"),
        ("diverged", progress.diverged, "diverged"),
        ("failed", progress.failed, "failed"),
        ("running", progress.running, "running"),
        ("to-do", progress.to_do, "to do"),
    ]
    return {
        "name": name,
        "label": f"Trials of {progress.name} that are measured",
        "headline": f"{progress.done} of {progress.planned} trials",
        "planned": progress.planned,
        "done": progress.done,
        "parts": [
            {"kind": kind, "share": round(100 * number / progress.planned, 2), "text": f"{number} {name}"}
            for kind, number, name in parts
            if number and kind != "to-do"
        ],
        "text": ", ".join(f"{number} {name}" for _, number, name in parts if number)
        + (f"; {progress.others} more stored that the study does not plan." if progress.others else "."),
    }


def _source(progress: Progress | None, name: str) -> dict[str, Any]:
    """Where a store's numbers come from."""
    if progress is None:
        return {"name": name, "commands": [], "facts": [("store", name)], "study": ""}
    return {
        "name": progress.name,
        "commands": progress.commands,
        "facts": [("store", name), *progress.ran_with.items()],
        "study": progress.study,
    }
