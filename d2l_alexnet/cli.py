"""What the commands share: one line for bad input, exit statuses, number types."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading

from d2l_alexnet.runtime import InputError, RunError


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of every option that has one."""

    def _get_help_string(self, action):
        return action.help if action.default is None else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that says in one line what is wrong, and shows defaults in its help.

    Parameters
    ----------
    module : str
        The command's module in this package.
    description : str
    """

    def __init__(self, module, description):
        super().__init__(
            prog=f"python -m d2l_alexnet.{module}",
            description=description,
            formatter_class=Help,
        )

    def error(self, message):  # noqa: D102, argparse's own
        self.exit(2, f"{self.prog}: {message} (--help lists what there is)\n")


def add_data_dir(parser):
    """Add ``--data-dir``."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder of the data set's files; MXNet's own data folder if not given",
    )


def add_ctx(parser):
    """Add ``--ctx``."""
    parser.add_argument(
        "--ctx",
        default="auto",
        help="auto (the GPU if there is a usable one), cpu, gpu, gpu:N, or several: gpu:0,1",
    )


def add_num_workers(parser):
    """Add ``--num-workers``."""
    parser.add_argument(
        "--num-workers",
        type=whole(0),
        default=4,
        metavar="N",
        help="processes that prepare batches, at most one a core",
    )


def whole(minimum, maximum=None):
    """Make an argparse type: a whole number from `minimum` to `maximum`, both included."""
    span = f"a whole number from {minimum}" + (" up" if maximum is None else f" to {maximum}")

    def parse(text):
        with contextlib.suppress(ValueError):
            if minimum <= int(text) and (maximum is None or int(text) <= maximum):
                return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not {span}")

    return parse


def positive(text):
    """Parse a finite number above 0, for argparse."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")


class Interrupted(KeyboardInterrupt):
    """A run that ended because it was asked to, by Ctrl-C or SIGTERM, after saving itself.

    Parameters
    ----------
    signum : int
    message : str
    """

    def __init__(self, signum, message):
        super().__init__(message)
        self.signum = signum


class StopRequest:
    """Note Ctrl-C and SIGTERM until the program gets to a point where it can obey.

    A second one ends the process at once, or where a notebook's kernel must live on, interrupts
    it. Signals reach the main thread alone; elsewhere nothing is changed.

    Attributes
    ----------
    signum : int or None
        The signal that asked for a stop.
    """

    signum = None

    def __enter__(self):
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum, frame):
        for each, before in self._before.items():
            signal.signal(each, before if "ipykernel" in sys.modules else signal.SIG_DFL)
        self.signum = signum

    def obey(self, message):
        """Raise `Interrupted` if a stop was asked for."""
        if self.signum:
            raise Interrupted(self.signum, message)


def run(main):
    """Run a command's `main` and end the process.

    The exit status is 0; 2 for bad input and 1 for a run that cannot go on, with one line each;
    130 for Ctrl-C and 143 for SIGTERM; 1 with a traceback for a crash, which Python sees to.
    """
    try:
        main()
    except (InputError, RunError, KeyboardInterrupt) as error:
        sys.exit(say(error if str(error) else "interrupted", status_of(error)))


def status_of(error):
    """Give the exit status that an exception ends a command with."""
    if isinstance(error, Interrupted):
        return 128 + error.signum
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return 2 if isinstance(error, InputError) else 1


def say(message, status):
    """Say in one line on standard error what went wrong; give the exit status."""
    sys.stdout.flush()  # so that this is the last line where both go to one file
    print(f"d2l_alexnet: {message}", file=sys.stderr)
    return status
