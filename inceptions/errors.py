"""Errors that a user can mend: the command line prints them as one line and exits with 2.

`inceptions.networks.spec.NetworkError` is one too, apart because the vocabulary imports nothing but the standard library.
"""

from __future__ import annotations

from pathlib import Path

from inceptions.names import shown


class UserError(ValueError):
    """Something given can't be used: the message says what was given, what is allowed and what to do.

    Names of files and classes go into it as they are; its text is one line that can be printed, whatever they hold.
    resume: the folder of a run that can be gone on with; whoever shows the error says by which command.
    """

    def __init__(self, message: str, *, resume: Path | None = None) -> None:
        super().__init__(message)
        self.resume = resume

    def __str__(self) -> str:
        return shown(super().__str__())


class ImageError(UserError):
    """An image file that can't be read."""


class TooManyPixelsError(ImageError):
    """A picture that is larger than is allowed."""


class DataError(UserError):
    """A data set that can't be trained on or tested with."""


class ModelFolderError(UserError):
    """A model folder that is not whole or not what it says."""


class WeightsError(UserError):
    """A checkpoint that is damaged, hostile, or not one of the network's."""


class UnknownTagError(UserError):
    """A tag of weights that nobody has published; whoever shows the error says how to list those that are."""


class StoppedError(UserError):
    """A run that was asked to stop, by Ctrl-C or SIGTERM: what it had is saved."""


class DivergedError(UserError):
    """A run whose loss is no number any more; the batch at which it was none is kept."""


class UnknownModelError(ModelFolderError):
    """A name that is no folder and no tag; whoever shows the error says how to list the tags."""
