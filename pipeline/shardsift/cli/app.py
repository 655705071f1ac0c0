"""The command line: parse once, pass values down, turn errors into one line and an exit code.

    0 done   1 finished, but some shards failed   2 a mistake to mend   130 interrupted

What a verb needs is imported when it runs: `shardsift --help` doesn't wait for torch and Ray.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from shardsift.cli import curate, look
from shardsift.cli.console import start_console
from shardsift.cli.exit_codes import INTERRUPTED, USER_ERROR
from shardsift.cli.flags import Actors, Address, ConfigFile, CpusPerActor
from shardsift.engine.environment import prepare_ray
from shardsift.errors import AnnotationError, ConfigError, UserError

if TYPE_CHECKING:
    from shardsift.runs.preflight import ScorerFactory


def _with_dashes(token: str) -> str:
    """img2dataset's users type `--keep_top`."""
    return token.replace("_", "-")


class _StoppedBySignalError(Exception):
    """A KeyboardInterrupt, by a name that typer doesn't know."""


class _Verbs(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            from shardsift.config import nearest

            guess = nearest(args[0], set(self.commands))
            hint = f"did you mean {guess}?" if guess else f"see {ctx.command_path} --help"
            raise ConfigError(f"no such verb: {args[0]}; {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            # typer would turn it into exit code 130, and nobody would be told how to go on.
            raise _StoppedBySignalError from interrupt


app = typer.Typer(
    name="shardsift",
    cls=_Verbs,
    help="Score every image of a WebDataset with MA-CLIP on Ray, and keep the good ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": _with_dashes,
    },
)


@app.callback()
def _shardsift() -> None:  # a callback makes typer keep verbs, even were there only one
    """Score every image of a WebDataset with MA-CLIP on Ray, and keep the good ones."""


@app.command()
def score(
    context: typer.Context,
    shards: Annotated[
        list[str] | None,
        typer.Argument(help="Tars, folders, globs, {000..123} braces, @list.txt; any fsspec URL."),
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Folder or URL for the annotations.", metavar="URL")
    ] = None,
    config: ConfigFile = None,
    model: Annotated[
        str | None,
        typer.Option(help="open_clip name, hf-hub:ORG/NAME, a model config .json, or compact."),
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="Weights: a tag or a path.")] = None,
    crops: Annotated[
        str | None, typer.Option(help="Crop plan: paper, fast, dense or global.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16, of the image encoder.")
    ] = None,
    actors: Actors = None,
    gpus_per_actor: Annotated[
        float | None, typer.Option(help="GPUs of an actor; 0 scores on CPUs.")
    ] = None,
    cpus_per_actor: CpusPerActor = None,
    address: Address = None,
    max_attempts: Annotated[
        int | None, typer.Option(help="Tries of a shard before it is given up.")
    ] = None,
    shard_timeout: Annotated[
        float | None, typer.Option(help="Seconds for one shard before its actor is killed.")
    ] = None,
    retry_errors: Annotated[
        str | None,
        typer.Option(help="Score shards again that have rows with these, comma-separated, errors."),
    ] = None,
    check_inputs: Annotated[
        bool | None, typer.Option("--check-inputs", help="Score changed shards again.")
    ] = None,
    overwrite: Annotated[
        bool | None, typer.Option("--overwrite", help="Replace this output's annotations.")
    ] = None,
    force: Annotated[
        bool | None, typer.Option("--force", help="Go on though another run writes there.")
    ] = None,
    dry_run: Annotated[
        bool | None, typer.Option("--dry-run", help="Check everything, score nothing.")
    ] = None,
) -> int:
    """Score all images of the shards: one Parquet annotation file a shard."""
    flags = {key: value for key, value in context.params.items() if value not in (None, [], ())}
    flags.pop("config", None)
    if retry_errors:
        flags["retry_errors"] = [code.strip() for code in retry_errors.split(",")]
    from shardsift.config import RunConfig, load_settings

    settings = load_settings(RunConfig, config, flags)
    prepare_ray(settings.address)
    console = start_console()
    with console.status("loading Ray"):
        from shardsift.cli.verbs.score import report_result
        from shardsift.runs.score import maclip_scorer
        from shardsift.runs.score import score as run_score

    result = run_score(settings, console, context.obj or maclip_scorer)
    return report_result(result, settings, console)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for shards and annotations.")] = Path("demo"),
) -> int:
    """The whole way, offline: make sample shards, score them, show what came out."""
    prepare_ray()
    console = start_console()
    from shardsift.cli.verbs.demo import run_demo

    return run_demo(output, console)


@app.command()
def verify(
    annotations: Annotated[str, typer.Argument(help="The --output of a run: a folder or URL.")],
    shards: Annotated[
        list[str] | None,
        typer.Option(help="What should be annotated, instead of the run's inputs; repeatable."),
    ] = None,
    recount: Annotated[
        bool, typer.Option("--recount", help="Read the tars, too, and count their samples.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Delete what is damaged: the next run scores it again.")
    ] = False,
) -> int:
    """Prove that an output is complete and consistent: no gaps, no damage, nothing twice."""
    from shardsift.cli.verbs.verify import run_verify

    return run_verify(annotations, shards or [], start_console(), mend=repair, recount=recount)


look.register(app)
curate.register(app)


def main(arguments: Sequence[str] | None = None, make_scorer: ScorerFactory | None = None) -> int:
    """Run a command line (of this process, if none is given); the exit code.

    `make_scorer` takes the place of MA-CLIP in `score`.
    """
    # What ends a container ends a run as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(app(args=arguments, standalone_mode=False, obj=make_scorer) or 0)
    except (UserError, AnnotationError) as error:
        return _complain(str(error))
    except (KeyboardInterrupt, _StoppedBySignalError):
        _complain("interrupted; the same command goes on where this one stopped")
        return INTERRUPTED
    except Exception as error:
        # What the parser raises is click's or typer's own copy of it, depending on the version.
        if not hasattr(error, "format_message"):
            raise
        return _complain(_parse_error(error))


def _parse_error(error: Any) -> str:
    flag = getattr(error, "option_name", None)
    if flag is None:
        return str(error.format_message()).replace("\n", " ")
    from shardsift.config import nearest

    guess = nearest(flag, _flags(error.ctx))
    hint = f"did you mean {guess}?" if guess else f"see {error.ctx.command_path} --help"
    return f"no such option: {flag}; {hint}"


def _flags(context: Any) -> set[str]:
    return {flag for parameter in context.command.params for flag in parameter.opts if "--" in flag}


def _complain(message: str) -> int:
    sys.stderr.write(f"shardsift: {message}\n")
    return USER_ERROR
