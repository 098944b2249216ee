"""Functions that all commands use: flags, one-line error messages, exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
from typing import Any, Callable, Iterator, NoReturn

from d2l_alexnet.errors import InputError, Interrupted, RunError
from d2l_alexnet.validation import describe, is_valid


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose error message is one line.

    Parameters
    ----------
    module : str
        The command's module in this package.
    description : str
    epilog : str, optional
    """

    def __init__(self, module: str, description: str, epilog: str | None = None) -> None:
        prog = f"python -m d2l_alexnet.{module}"
        super().__init__(prog=prog, description=description, epilog=epilog)

    def error(self, message: str) -> NoReturn:  # noqa: D102, argparse's own
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def add_flag(parser: Any, flag: str, **settings: Any) -> None:
    """Add a flag without a default: if the user omits it, the parsed arguments do not have it."""
    parser.add_argument(flag, default=argparse.SUPPRESS, **settings)


def add_flags(parser: Any, options: type, *names: str, defaults: bool = True) -> None:
    """Add a flag for each field of a dataclass that is declared with `d2l_alexnet.options.option`.

    Parameters
    ----------
    parser : argparse.ArgumentParser or argument group
    options : type
        The dataclass.
    *names : str
        Add only the flags of these fields, in the order of the class.
    defaults : bool
        Whether ``--help`` shows the default values.
    """
    for field in dataclasses.fields(options):
        if "help" in field.metadata and (not names or field.name in names):
            settings = _argument(field)
            if defaults and field.default is not None and field.default is not False:
                settings["help"] += f" (default: {field.default})"
            add_flag(parser, _flag(field), dest=field.name, **settings)


def pop_options(given: dict[str, Any], options: type) -> Any:
    """Build an options dataclass from the parsed arguments, and remove these arguments."""
    names = [field.name for field in dataclasses.fields(options) if field.name in given]
    return options(**{name: given.pop(name) for name in names})


def _argument(field: dataclasses.Field) -> dict[str, Any]:
    """Return the settings of argparse for a field."""
    default, limits = field.default, dict(field.metadata)
    text = limits.pop("help")
    limits.pop("flag")
    if isinstance(default, bool):
        return dict(action="store_true", help=text)
    if "choices" in limits:
        return dict(help=text, **limits)
    metavar = limits.pop("metavar", {int: "N", float: "X"}.get(type(default)))
    kind = number(type(default), **limits) if limits else not_empty
    return dict(help=text, metavar=metavar, type=kind)


def flags_of(options: Any, *names: str) -> list[str]:
    """Return the flags that set these fields to their current values."""
    flags = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name in names and value != field.default:
            flags += [_flag(field)] if isinstance(value, bool) else [_flag(field), str(value)]
    return flags


def _flag(field: dataclasses.Field) -> str:
    """Return the flag of a field: the declared one, or --num-workers for num_workers."""
    return field.metadata["flag"] or "--" + field.name.replace("_", "-")


def not_empty(text: str) -> str:
    """Refuse an empty string, for argparse. It often comes from an unset shell variable."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return text


def number(kind: type, **limits: float) -> Callable[[str], Any]:
    """Make an argparse type that accepts the finite numbers of a range.

    Parameters
    ----------
    kind : type
        int or float.
    **limits
        As for `d2l_alexnet.options.option`.

    Returns
    -------
    callable
        Converts a string to a number. argparse prints its error as one line.
    """

    def parse(text: str) -> Any:
        with contextlib.suppress(ValueError):
            value = kind(text)
            if is_valid(value, kind, limits):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {describe(kind, limits)}")

    return parse


def run(main: Callable[[], Any]) -> None:
    """Run a command's `main` and end the process.

    The exit status is

    - 0 for success;
    - 2 for bad input, with one line;
    - 1 for a run that cannot continue, with one line;
    - 128 plus the signal's number for Ctrl-C, SIGTERM and SIGHUP, with one line;
    - 1 for any other exception, with Python's traceback.
    """
    _open_missing_streams()
    with contextlib.redirect_stdout(Output(sys.stdout)), _raised_signals():
        try:
            main()
            sys.stdout.flush()
        except (InputError, RunError, KeyboardInterrupt) as error:
            sys.exit(print_error(error if str(error) else "interrupted", status_of(error)))


def _open_missing_streams() -> None:
    """Use /dev/null for a standard stream that is closed, as after ``>&-``; Python has None."""
    for name, mode in dict(stdin="r", stdout="w", stderr="w").items():
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


@contextlib.contextmanager
def _raised_signals() -> Iterator[None]:
    """Raise `Interrupted` for SIGTERM and SIGHUP, as Python raises KeyboardInterrupt for Ctrl-C.

    So what was begun is cleaned up. A signal that the process ignores stays ignored.
    """

    def interrupt(signum: int, frame: object) -> NoReturn:
        raise Interrupted(signum, "interrupted")

    raised = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) == signal.SIG_DFL]
    for signum in raised:
        signal.signal(signum, interrupt)
    try:
        yield
    finally:
        for signum in raised:
            signal.signal(signum, signal.SIG_DFL)


class Output:
    """Standard output. If writing fails, it raises `RunError`; the command then prints one line.

    Writing fails if the disk is full or the pipe is closed. Characters that the terminal cannot
    print are replaced.

    Parameters
    ----------
    stream : file
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write; raise `RunError` if that fails."""
        return self._try(self._stream.write, text)

    def flush(self) -> None:
        """Flush; raise `RunError` if that fails."""
        self._try(self._stream.flush)

    def _try(self, do: Callable, *arguments: Any) -> Any:
        try:
            return do(*arguments)
        except OSError as error:
            # Send the rest of the buffer to /dev/null. Otherwise Python fails again when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise RunError(f"cannot write to standard output ({error.strerror})") from error


def status_of(error: BaseException) -> int:
    """Return the exit status of a command that an exception ends."""
    if isinstance(error, Interrupted):
        return 128 + error.signum
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return 2 if isinstance(error, InputError) else 1


def print_error(message: object, status: int) -> int:
    """Write one line with the error to standard error, and return the exit status."""
    with contextlib.suppress(OSError, RunError):  # the terminal may be closed
        sys.stdout.flush()  # so that the error is the last line if both go to one file
        print(f"d2l_alexnet: {message}", file=sys.stderr, flush=True)
    return status
