"""The command line: parse once, pass values down, turn errors into one line and an exit code.

    0 done 1 finished, but some shards failed 2 a mistake of the user 130 interrupted

Imports of a verb are made when it runs, so that `shardsift --help` doesn't wait for torch and Ray.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from shardsift.cli.catalogue import VERBS, known_keys
from shardsift.cli.console import FAILED, INTERRUPTED, TALK, USER_ERROR, Talk, start_console
from shardsift.cli.flags import make_command
from shardsift.config import VARIABLE, did_you_mean, load_config
from shardsift.engine.environment import prepare_ray
from shardsift.errors import AnnotationError, ConfigError, UserError
from shardsift.redaction import reason, shown
from shardsift.threads import is_starved
from shardsift.version import __version__

logger: Final = logging.getLogger(__name__)


def _with_dashes(token: str) -> str:
    """Read `--keep_top`, as img2dataset's users type it, as `--keep-top`."""
    return token.replace("_", "-")


class _StoppedBySignalError(Exception):
    """A KeyboardInterrupt, by a name that typer doesn't know."""


class _Command(TyperCommand):
    """A command whose help describes `--help` like other flags."""

    def get_help_option(self, ctx: Any) -> Any:
        return _without_type(super().get_help_option(ctx))


def _without_type(option: Any) -> Any:
    option.metavar = ""
    return option


class _Verbs(TyperGroup):
    def get_help_option(self, ctx: Any) -> Any:
        return _without_type(super().get_help_option(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            hint = did_you_mean(args[0], self.commands, f"see {ctx.command_path} --help")
            raise ConfigError(f"no such verb: {args[0]}; {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            # typer would exit with 130, and no line would say how to go on.
            raise _StoppedBySignalError(ctx.invoked_subcommand) from interrupt


def _run(verb: str, context: typer.Context, given: dict[str, Any]) -> int:
    talk = Talk(**{name: given.pop(name) for name in TALK & given.keys()})
    file = given.pop("config", None) or os.environ.get(f"{VARIABLE}CONFIG")
    config = load_config(VERBS[verb].config, file, given, os.environ, known_keys())
    prepare_ray(getattr(config, "address", None))
    console = start_console(talk)
    _warn_of_unknown_variables()
    with console.busy("loading"):
        module = import_module(f"shardsift.cli.verbs.{verb.replace('-', '_')}")
    return module.run(config, console, **(context.obj or {}))


app: Final = typer.Typer(
    name="shardsift",
    cls=_Verbs,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": _with_dashes,
    },
)


def _warn_of_unknown_variables() -> None:
    """Log a warning for each variable that begins with `SHARDSIFT_` and is no setting."""
    known = {VARIABLE + key.upper() for key in {"config"} | known_keys()}
    for name in sorted(os.environ):
        is_ours = name.startswith(VARIABLE) and not name.startswith(f"{VARIABLE}TEST_")
        if is_ours and name not in known:
            logger.warning("%s: no setting; %s", name, did_you_mean(name, known, "see --help"))


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"shardsift {__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _shardsift(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            is_eager=True,
            callback=_print_version,
            help="Print it, and exit.",
        ),
    ] = False,
) -> None:
    """Score every image of a corpus with MA-CLIP on Ray, and keep the good ones."""
    if context.invoked_subcommand is None:
        sys.stdout.write(f"{context.get_help()}\n")


for _name, _verb in VERBS.items():
    _command = make_command(_verb.config, partial(_run, _name))
    app.command(_name, cls=_Command, help=_verb.summary)(_command)


def main(arguments: Sequence[str] | None = None, **extra: Any) -> int:
    """Run a command line (of this process, if none is given); return the exit code.

    `extra` goes to the verb: `load` takes the place of what loads MA-CLIP, in `score`.
    """
    # SIGTERM, as from a container's stop, ends a run as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(app(args=arguments, standalone_mode=False, obj=extra) or 0)
    except (UserError, AnnotationError) as error:
        return _complain(str(error))
    except (KeyboardInterrupt, _StoppedBySignalError) as stop:
        return _interrupted(str(stop))
    except OSError as error:
        place = f"{error.filename!s}: " if error.filename else ""
        storage_error = f"{place}{reason(error)}; run the same command again once that is fixed"
        return _complain(storage_error)
    except Exception as error:
        if is_starved(error):
            return _complain(
                "this process has no memory or threads left; end what else runs here, or raise its "
                f"limits (ulimit -v, ulimit -u), and run the same command again ({reason(error)})"
            )
        # Parse errors are click's or those of typer's copy of click, depending on the version.
        if not hasattr(error, "format_message"):
            raise
        return _complain(_parse_error(error))


def command(arguments: Sequence[str] | None = None, **extra: Any) -> NoReturn:
    """Run a command line as `main` does, and end the process with its exit code.

    Python isn't shut down in the usual way: a thread of Arrow or Ray that frees one of its objects
    meanwhile would abort the process with exit code 134.
    """
    try:
        code = main(arguments, **extra)
    except Exception:  # noqa: BLE001  # a fault of ours; its traceback may hold names of files
        sys.stderr.write(shown(traceback.format_exc()))
        code = FAILED  # as Python exits for an uncaught error
    logging.shutdown()
    with suppress(BrokenPipeError):  # the reader of the results has closed the pipe
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _interrupted(verb: str = "") -> int:
    # A SIGTERM that Ray's C++ hears of first, while Ray starts, aborts the process 3 s later.
    signal.alarm(0)
    if verb in VERBS and VERBS[verb].resumes:
        _complain("interrupted; run the same command again to resume")
    else:
        _complain("interrupted; run the same command again")
    return INTERRUPTED


def _parse_error(error: Any) -> str:
    flag = getattr(error, "option_name", None)
    if flag is None:
        return str(error.format_message()).replace("\n", " ")
    hint = did_you_mean(flag, _flags(error.ctx), f"see {error.ctx.command_path} --help")
    return f"no such option: {flag}; {hint}"


def _flags(context: Any) -> set[str]:
    return {flag for parameter in context.command.params for flag in parameter.opts if "--" in flag}


def _complain(message: str) -> int:
    for line in message.splitlines():
        sys.stderr.write(f"shardsift: {shown(line)}\n")
    return USER_ERROR
