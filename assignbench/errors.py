"""What can go wrong, by who has to act; the number is the exit code of the command.

A message is one or two lines: what is wrong, where (file, key, image id), and what to do about it.
"""


class AssignbenchError(Exception):
    """Base of every error that is explained to the user instead of shown as a traceback."""

    exit_code = 1


class RunError(AssignbenchError):
    """A run failed while it was training or evaluating; the other runs of a matrix go on."""

    exit_code = 1


class UsageError(AssignbenchError):
    """A command, option, configuration, name or plug-in is wrong."""

    exit_code = 2


class DataError(AssignbenchError):
    """A data set is missing, unreadable or inconsistent."""

    exit_code = 3


class SystemProblem(AssignbenchError):  # noqa: N818 - SystemError is Python's own
    """The machine lacks something: weights, a device, disk space, a compatible library."""

    exit_code = 4


class DeviceFault(SystemProblem):
    """Memory was short, or a device failed: perhaps another program's doing, so that another try may help."""

    exit_code = 6


class Stopped(BaseException):  # like KeyboardInterrupt, it passes whoever handles errors
    """The system asked this process to leave (SIGTERM, SIGUSR1); the message is the signal's name."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again


class AssignbenchWarning(UserWarning):
    """Something that a user should know, and that stops nothing."""
