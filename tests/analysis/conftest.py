from psp_core.trial import Trial


def old_row_of(trial: Trial) -> dict[str, object]:
    """A trial's settings as a row of the first stores has them, which said nothing of curves."""
    settings = {name: trial.row[name] for name in trial.at_first}
    return {**settings, "method": trial.stored_name, "milestones": list(trial.milestones)}
