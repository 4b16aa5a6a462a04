"""What is raised where a data set cannot be had."""


class DataUnavailableError(ValueError):
    """A data set's files are neither there nor to be had; the message names them."""
