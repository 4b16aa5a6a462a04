"""Writes what the parts say into the documents: `make reference`."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from psp_core.contexts import CONTEXTS, Context
from psp_core.experiment import FIRST_KIND
from psp_core.experiments import EXPERIMENTS
from psp_core.parts import Part, settings_of
from study.reference import Entry, Section, own_entries, sections, summary, type_words, value_words
from study.schema import MEASURED, TRIALS

ROOT: Final = Path(__file__).parents[1]
SIZES: Final = (256, 784)
"""Inputs of the layers whose contexts' bytes are given: a usual hidden layer's, and MNIST's."""
TABLES: Final = {"trials": TRIALS, **MEASURED}
"""The store's tables, whose columns docs/store.md lists between `<!-- TABLE: make reference -->` and `<!-- end -->`."""
MADE: Final = "<!-- Made by `make reference`; the texts stand in the parts' own files. -->\n"


def pages(root: Path = ROOT) -> dict[Path, str]:
    """The documents as they should be, by path."""
    store = root / "docs" / "store.md"
    return {
        root / "docs" / "settings.md": "\n".join(_settings_page()) + "\n",
        root / "docs" / "contexts.md": "\n".join(_contexts_page()) + "\n",
        store: with_tables(store.read_text(encoding="utf-8")),
    }


def with_tables(text: str) -> str:
    """The page of the store with the columns of today between their marks."""
    for name, schema in TABLES.items():
        begin, end = f"<!-- {name}: make reference -->\n", "<!-- end -->"
        before, _, after = text.partition(begin)
        table = "\n".join(_columns(schema))
        text = f"{before}{begin}{table}\n{end}{after.partition(end)[2]}"
    return text


def _columns(schema: pa.Schema) -> Iterator[str]:
    """The columns of a table of the store that are no settings."""
    settings = {one.column for root in EXPERIMENTS.values() for one in root.columns_of_settings()}
    columns = [column for column in schema if column.name not in settings or schema is not TRIALS]
    rows = ([f"`{each.name}`", str(each.type), each.metadata[b"text"].decode()] for each in columns)
    return _table(("column", "type", ""), rows)


def _settings_page() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield MADE
    yield "All that a study can set. `psp settings NAME` prints one of them. A setting has a short name, and a path"
    yield "through the parts that have it: `width` is `model.width`. Both can be used in a study and in `--set`; a part"
    yield "may also be written with its settings: `model: {name: mlp, width: 64}`. Members of a pack are trials that"
    yield "train together. Paper A is PSP, paper B SupSup. These and other words: [glossary](glossary.md)."
    for kind, root in EXPERIMENTS.items():
        for section in sections(root):
            if kind == FIRST_KIND or not section.head:
                yield from _section(kind, section)


def _section(kind: str, section: Section) -> Iterator[str]:
    entries = section.entries
    yield ""
    if section.head:
        head = section.head
        yield f"## `{section.title}`"
        yield ""
        whose = f" Of {head.owners[0].family} {head.whose}." if head.whose else ""
        path = f" Path: `{head.path}`." if head.path != section.title else ""
        yield f"{_escaped(head.setting.text)} Default: `{value_words(head.setting.default)}`.{path}{whose}"
        yield ""
        yield from _parts_table(section.title, section)
    else:
        entries = own_entries(section)
        yield f"## Every trial of `kind: {kind}`"
        if len(entries) < len(section.entries):
            yield ""
            yield f"It has all that `kind: {FIRST_KIND}` has, and:"
    if entries:
        yield ""
        yield from _table(
            ("setting", "values", "default", "", "path"), ([*_row(each), f"`{each.path}`"] for each in entries)
        )


def _row(entry: Entry) -> list[str]:
    one = entry.setting
    values = ", ".join(f"`{name}`" for name in one.choices) or type_words(one)
    whose = f"Of {', '.join(f'`{part.name}`' for part in entry.owners)}. " if entry.whose else ""
    rule = f" It {one.rule.text.partition(';')[0].rstrip('.')}." if one.rule else ""
    pack = " Members of a pack may differ in it." if one.per_member else ""
    return [f"`{one.column}`", values, value_words(one.default), f"{whose}{one.text}{rule}{pack}"]


def _parts_table(title: str, section: Section) -> Iterator[str]:
    rows = ([f"`{name}`", summary(part), _own(part)] for name, part in section.parts.items())
    return _table((title, "", "settings of its own"), rows)


def _own(part: type[Part]) -> str:
    return ", ".join(f"`{one.column}`" for one in settings_of(part))


def _contexts_page() -> Iterator[str]:
    yield "# Contexts"
    yield ""
    yield MADE
    yield "What can turn the shared weights into one task's weights, and what one more task costs: bytes for a layer of"
    yield f"{SIZES[0]} and of {SIZES[1]} inputs, bytes that all tasks share, and the most tasks at {SIZES[1]} inputs."
    yield "I is the number of inputs, k the task. Paper A is PSP; the released code is its authors'"
    yield "([what the papers did](papers.md)). More words: [glossary](glossary.md)."
    yield ""
    columns = ("context", "", *(f"bytes, {size}" for size in SIZES), "once", "tasks at most", "it is", "from")
    yield from _table(columns, (_context(context()) for context in CONTEXTS.values()))
    yield ""
    yield "- orthogonal: unbinding what was bound gives it again, and lengths are kept."
    yield "- learnable: each task has numbers of its own, which `learned_contexts: true` trains."
    yield "- mixable: sums of contexts can be bound, which `task_inference` needs."
    yield "- complex: weights and activations are complex; fully connected networks with shared heads alone."
    yield ""
    yield "Contexts that bind by the same operation train in one pack:"
    yield ""
    by_binding = defaultdict(list)
    for name, context in CONTEXTS.items():
        by_binding[context.binding].append(f"`{name}`")
    by_binding.pop("")
    yield from (f"- {binding}: {', '.join(names)}." for binding, names in sorted(by_binding.items()))


def _context(context: Context) -> list[str]:
    is_what = {
        "orthogonal": context.is_orthogonal,
        "learnable": context.is_learnable,
        "mixable": context.is_mixable,
        "complex": context.is_complex,
    }
    most = context.max_tasks(SIZES[-1])
    return [
        f"`{context.name}`",
        summary(type(context)),
        *(f"{context.bytes_per_task(size):,}" for size in SIZES),
        f"{context.bytes_once(SIZES[-1]):,}",
        f"{most:,}" if most else "",
        ", ".join(name for name, holds in is_what.items() if holds),
        _source(type(context)),
    ]


def _source(part: type[Part]) -> str:
    """Whose idea a part is, or the part that it is a form of."""
    for each in part.__mro__:
        text = (each.__doc__ or "") if each.__dict__.get("name") else ""
        source = text.partition("Source: ")[2].partition(".")[0]
        for words in ("ours", "released code"):
            if words in source:
                return words
        if "paper A" in text:
            return "paper A"
    return ""


def _table(columns: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(map(_escaped, columns))} |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield f"| {' | '.join(map(_escaped, row))} |"


def _escaped(text: str) -> str:
    """Outside of code, letters that Markdown would read: bars, stars and underscores."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece.replace("|", r"\|") if piece.startswith("`") else re.sub(r"([|*_<])", r"\\\1", piece) for piece in pieces
    )


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
