"""Study files are YAML 1.2: what 1.1 reads otherwise is text or refused, and what is written both read alike."""

import math

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from study.yaml_text import dump_yaml, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"),
        ("on", "on"),
        ("No", "No"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("=", "="),
        ("1e2", 100.0),
        ("1e-4", 1e-4),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("0x1F", 31),
        ("0o17", 15),
        ("0", 0),
        ("-12", -12),
        ("True", True),
        ("~", None),
        ("", None),
    ],
)
def test_scalars_are_what_the_core_schema_says(text: str, value: object) -> None:
    found = load_yaml(f"a: {text}")
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 0100", "line 2: the number 0100 begins with 0, .*: write 100, or 64 if that was meant"),
        ("a: 09", "line 1: the number 09 begins with 0, .*: write 9"),
        ("a: {b: 1,\n c: 2,\n b: 3}", "line 3: the key 'b' is given twice"),
        ("a: [", "line 1: while parsing a flow node"),
        ("!!python/object/apply:os.getcwd []", "line 1: could not determine a constructor"),
    ],
)
def test_what_can_be_read_in_two_ways_or_not_at_all_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_yaml(text)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
odd = st.sampled_from(["0o17", "1e2", "on", "no", "0100", "1:30", "~", "=", "2020-01-01", "1_000", "<<", "", "0x1"])


@given(plain | odd)
@example({"\x85": None})
@example("a\u2028b")
def test_what_is_written_is_read_alike_by_both_versions(value: object) -> None:
    text = dump_yaml({"a": value})
    assert load_yaml(text) == yaml.safe_load(text) == {"a": value}
