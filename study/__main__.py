"""`python -m study` is the same program as `psp`."""

from study.cli import main

if __name__ == "__main__":
    main()
