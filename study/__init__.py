"""What is run, and where: study files, plans, Ray Tune, the trial store and the command line."""

__version__ = "0.1.0"
