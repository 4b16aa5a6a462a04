import shlex
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psp_core.trial import TrialConfig
from study import cli
from study.plan import Pack
from study.redact import without_secrets
from study.store import TrialStore
from study.worker import Job, record_failure

KEYS = st.text("abcXYZ019+/=@:_-.~", min_size=8, max_size=20)  # of AWS's, and of passwords typed as they are
PLACES = st.sampled_from(
    [
        "s3://AKIAEXAMPLE:{}@bucket/path",
        "s3://{}@bucket",
        "gs://user:{}@bucket/a@b",
        "s3://K:{}@bucket/path?region=eu",
        "nowhere://K:{}@bucket",
    ]
)
QUERIES = st.sampled_from(
    ["s3://b/p?secret_key={}&region=x", "gs://b/p?a=1&token={}", "abfss://c@a/p?sv=2024&sig={}", "s3://b/p?sig={}"]
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://key:secret@bucket/path", "s3://***@bucket/path"),
        ("s3://AKIAEXAMPLE:wJalr/XUtnFEMI/K7MDENG@bucket/path", "s3://***@bucket/path"),
        ("s3://k:a@b@bucket", "s3://***@bucket"),
        ("s3://k:s@bucket/p?note=a@b&region=eu", "s3://***@bucket/p?note=***&region=eu"),
        ("s3://b/p?access_key=abc&region=eu&secret_key=x%2F", "s3://b/p?access_key=***&region=eu&secret_key=***"),
        ("s3://b/p?scheme=http&endpoint_override=h%3A1&sig=x", "s3://b/p?scheme=http&endpoint_override=h%3A1&sig=***"),
        ("psp run a --out s3://k:s@b --set x=1", "psp run a --out s3://***@b --set x=1"),
        ("https://h/p?X-Amz-Signature=abc", "https://h/p?X-Amz-Signature=***"),
        ("results/quickstart", "results/quickstart"),
        ("mail a@b about s3://bucket/path", "mail a@b about s3://bucket/path"),
    ],
)
def test_secrets_are_not_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@given(KEYS, PLACES)
def test_no_key_survives(key: str, place: str) -> None:
    assert key not in without_secrets(f"error at {place.format(key)}: refused")


@given(KEYS, QUERIES)
def test_no_parameter_survives(key: str, place: str) -> None:
    key = key.replace("@", "%40")
    assert key not in without_secrets(f"error at {place.format(key)}: refused")


@pytest.mark.parametrize("command", ["plan quickstart --out", "run quickstart --out", "status", "compact", "plot"])
@given(key=KEYS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_command_prints_a_key(
    command: str, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a storage that nobody knows, so that nothing is asked for over a network."""
    monkeypatch.setattr("sys.argv", ["psp", *shlex.split(command), f"nowhere://AKIAEXAMPLE:{key}@bucket/path"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code == cli.BAD_INPUT
    assert "nowhere://***@bucket/path" in printed.err
    assert key not in printed.out + printed.err


@given(KEYS, PLACES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_stored_error_holds_a_key(tmp_path: Path, key: str, place: str) -> None:
    trial = TrialConfig(dataset="digits", num_tasks=2)
    job = Job(study="small", pack=Pack((trial,)), store=str(tmp_path))
    record_failure(job, f"OSError: {place.format(key)} is not there")
    (found,) = TrialStore(str(tmp_path)).finished()[0].values()
    assert found.error is not None
    assert found.error.startswith("OSError: ")
    assert key not in found.error
