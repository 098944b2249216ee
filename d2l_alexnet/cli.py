"""What the commands share: one line for bad input, exit statuses, number types."""

from __future__ import annotations

import argparse
import contextlib
import sys

from d2l_alexnet.runtime import InputError


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


def run(main):
    """Run a command's `main` and end the process.

    The exit status is 0; 2 for bad input, with one line; 130 for Ctrl-C; 1 with a traceback for
    a crash, which Python sees to.
    """
    try:
        main()
    except InputError as error:
        sys.exit(_say(error, status=2))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted", status=130))


def _say(message, status):
    print(f"d2l_alexnet: {message}", file=sys.stderr)
    return status
