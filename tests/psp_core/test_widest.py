"""Widths that are the largest for which a number of bytes has room."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp_core.trial import Trial, TrialConfig, replace
from psp_core.widest import NoRoomError, widest


def built(width: int, room: int, possible: range | None = None) -> int:
    if possible is not None and width not in possible:
        raise ValueError("no such width")
    if width > room:
        raise NoRoomError("too large")
    return width


@given(room=st.integers(1, 10_000), least=st.integers(1, 300))
def test_it_is_the_largest_possible_one_with_room(room: int, least: int) -> None:
    possible = range(least, 10**6)
    if room < least:
        with pytest.raises(NoRoomError):
            widest(lambda width: built(width, room, possible))
    else:
        assert widest(lambda width: built(width, room, possible)) == room


@given(room=st.integers(1, 10_000))
def test_of_powers_of_two_it_is_the_largest_one(room: int) -> None:
    powers = [2**power for power in range(15)]

    def build(width: int) -> int:
        if width not in powers:
            raise ValueError("no power of two")
        return built(width, room)

    assert widest(build) == max(power for power in powers if power <= room)


def test_what_no_width_mends_is_said() -> None:
    with pytest.raises(ValueError, match="no such width"):
        widest(lambda width: built(width, 10, range(0)))


SETTINGS: list[dict[str, Any]] = [
    {"context": "none"},
    {"context": "binary"},
    {"context": "complex"},
    {"context": "none", "protect": {"name": "ewc", "strength": 1}},
    {"context": "none", "trunk": "per-task"},
    {"context": "none", "heads": "per-task", "stream": "split", "classes_per_task": 2},
    {"method": "supsup"},
    {"method": "hopsupsup"},
    {"context": "binary", "model": "small-conv"},
]


def trial_of(**settings: Any) -> Trial:
    return TrialConfig(**{"dataset": "digits", "num_tasks": 5, "max_bytes": 60_000, **settings})


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_one_unit_more_would_be_too_large(settings: dict[str, Any]) -> None:
    trial = trial_of(**settings)
    assert trial.facts["kept_bytes"] == trial.kept_bytes <= 60_000
    assert replace(trial, max_bytes=None, width=trial.width + 1).kept_bytes > 60_000
    with pytest.raises(ValueError, match="max_bytes=60000 has no room for the"):
        replace(trial, width=trial.width + 1)


def test_a_trial_with_a_limit_is_another_and_comes_back_from_its_row() -> None:
    trial = trial_of()
    assert TrialConfig(**trial.columns()) == trial
    assert trial.setup["max_bytes"] == 60_000
    assert replace(trial, max_bytes=None).chosen == {k: v for k, v in trial.chosen.items() if k != "max_bytes"}


def test_where_one_unit_is_too_large_it_is_said() -> None:
    with pytest.raises(
        ValueError, match=r"max_bytes=100 has no room for the \d+ bytes .* at width=1 after num_tasks=5"
    ):
        trial_of(max_bytes=100)


def test_a_width_that_is_given_stays() -> None:
    assert trial_of(width=7).width == 7


def test_a_memory_of_images_takes_its_share_and_the_width_the_rest() -> None:
    shares = {share: trial_of(context="none", protect={"name": "replay", "share": share}) for share in (0.2, 0.6)}
    for share, trial in shares.items():
        assert 60_000 * share - 67 < trial.facts["images_bytes"] <= 60_000 * share  # type: ignore[operator]
        assert trial.facts["kept_bytes"] - trial.facts["answer_bytes"] == trial.facts["images_bytes"]  # type: ignore[operator]
    assert shares[0.2].width > shares[0.6].width
    assert {"".join(trial.curve_of.values()) for trial in shares.values()} == {
        "none, replay 0.2 of all bytes", "none, replay 0.6 of all bytes",
    }  # fmt: skip
    for wrong in ({"share": 0.5}, {"share": 0.5, "budget": 1000}):
        with pytest.raises(ValueError, match="give max_bytes, and leave protect_budget out"):
            trial_of(protect={"name": "replay", **wrong}, max_bytes=None if len(wrong) == 1 else 60_000)
