"""What each command of `psp` does, by topic; `study.cli` names them."""
