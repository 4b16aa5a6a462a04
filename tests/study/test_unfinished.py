from study.unfinished import Unfinished, half_way


def at(task: int, *names: str) -> Unfinished:
    return Unfinished(trial_ids=names, tasks_seen=task + 1, tasks_kept=task)


def test_packs_are_counted_by_size_and_length() -> None:
    visits = dict.fromkeys("abcde", 50) | {"x": 10}
    assert half_way([], visits) == ""
    assert half_way([at(43, "a", "b")], visits) == "1 pack of 2 trials at task 43 of 50"
    several = half_way([at(7, "a", "b"), at(43, "c", "d"), at(2, "e"), at(3, "x")], visits)
    assert several.split(", ") == [
        "2 packs of 2 trials at task 7 to 43 of 50",
        "1 pack of 1 trial at task 2 of 50",
        "1 pack of 1 trial at task 3 of 10",
    ]


def test_what_is_not_kept_or_not_to_be_trained_is_passed_over() -> None:
    assert half_way([at(0, "a"), at(3, "a", "done")], {"a": 50}) == ""
