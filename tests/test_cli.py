import dataclasses
import os
import signal
import sys
import time

import pytest

from d2l_alexnet import cli, train
from d2l_alexnet.errors import InputError, Interrupted, RunError
from d2l_alexnet.options import DistributedOptions, RunOptions, option
from d2l_alexnet.recipes import QUICK, RECIPES, Recipe


@dataclasses.dataclass(frozen=True)
class Options:
    whole: int = option(3, "a whole number", minimum=1, maximum=9)
    share: float = option(0.5, "a share", minimum=0, below=1)
    switch: bool = option(False, "a switch")
    choice: str = option("a", "a choice", flag="--pick", choices=("a", "b"))
    folder: str = option(None, "a folder", metavar="DIR")
    hidden: int = 7


def parse(*arguments, **settings):
    parser = cli.Parser("test", "For tests.")
    cli.add_flags(parser, Options, **settings)
    return vars(parser.parse_args(arguments))


def test_what_the_user_does_not_give_is_not_there():
    assert parse() == {}


def test_every_kind_of_field_has_its_flag():
    given = parse(
        *("--whole", "4", "--share", "0.25", "--switch"), *("--pick", "b", "--folder", "x")
    )
    assert given == dict(whole=4, share=0.25, switch=True, choice="b", folder="x")
    assert cli.pop_options(given, Options) == Options(4, 0.25, True, "b", "x")
    assert given == {}


WHOLE, SHARE = " that is at least 1 and at most 9", " that is at least 0 and below 1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--whole", "0"],
            f"argument --whole: '0' is not a whole number{WHOLE}",
        ),
        (
            ["--whole", "10"],
            f"argument --whole: '10' is not a whole number{WHOLE}",
        ),
        (
            ["--whole", "1.5"],
            f"argument --whole: '1.5' is not a whole number{WHOLE}",
        ),
        (["--share", "1"], f"argument --share: '1' is not a number{SHARE}"),
        (
            ["--share", "-0.1"],
            f"argument --share: '-0.1' is not a number{SHARE}",
        ),
        (
            ["--share", "nan"],
            f"argument --share: 'nan' is not a number{SHARE}",
        ),
        (["--pick", "c"], "argument --pick: invalid choice: 'c'"),
        (["--hidden", "1"], "unrecognized arguments: --hidden 1"),
    ],
)
def test_a_value_out_of_range_is_one_line_and_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(*arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"python -m d2l_alexnet.test: {message}")


def test_help_shows_defaults_only_where_they_apply(capsys):
    for defaults in (True, False):
        with pytest.raises(SystemExit):
            parse("--help", defaults=defaults)
        assert ("a whole number (default: 3)" in capsys.readouterr().out) == defaults


def test_every_option_of_a_run_has_a_flag_and_a_documented_field():
    parser = train.parser()
    flags = {action.dest for action in parser._actions}
    for options in (RunOptions, DistributedOptions, Recipe):
        for field in dataclasses.fields(options):
            assert field.name in options.__doc__
            assert "help" not in field.metadata or field.name in flags
    assert {field.name for field in dataclasses.fields(RunOptions)} <= flags


def test_a_patience_that_no_timer_can_hold_is_refused(capsys):
    """In ps-lite's C int, 3e9 seconds were a negative number: workers gave up at once."""
    with pytest.raises(SystemExit):
        train.main(["--kvstore", "dist_sync", "--patience", "3e9"])
    assert "--patience: '3e9' is not a number that is above 0 and at most 1000000" in (
        capsys.readouterr().err
    )


def test_dropout_can_be_set_on_the_command_line(monkeypatch):
    seen = []
    monkeypatch.setattr(train, "train", lambda recipe, *_, **__: seen.append(recipe))
    train.main(["--recipe", "quick", "--dropout", "0.3", "--epochs", "2"])
    train.main([])
    assert seen == [dataclasses.replace(QUICK, dropout=0.3, num_epochs=2), RECIPES["lecture"]]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("bad"), 2),
        (RunError("bad"), 1),
        (Interrupted(signal.SIGTERM, "bad"), 143),
        (Interrupted(signal.SIGINT, "bad"), 130),
    ],
)
def test_errors_of_ours_are_one_line_with_their_status(error, status, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    assert ended.value.code == status
    assert capsys.readouterr().err == "d2l_alexnet: bad\n"


def test_a_crash_keeps_its_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run(main)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_one_line_and_what_was_begun_is_cleaned_up(sent, capsys, monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda signum: signal.SIG_DFL)  # not as under nohup
    cleaned = []

    def main():
        try:
            os.kill(os.getpid(), sent)
            time.sleep(60)
        finally:
            cleaned.append(True)

    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    assert (ended.value.code, cleaned) == (128 + sent, [True])
    assert capsys.readouterr().err == "d2l_alexnet: interrupted\n"


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        cli.run(lambda: os.kill(os.getpid(), signal.SIGHUP))
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_closed_stream_is_like_dev_null(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)

    def main():
        print("nobody reads this")
        print("nor this", file=sys.stderr)
        assert sys.stdin.buffer.read() == b""

    cli.run(main)
