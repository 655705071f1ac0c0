"""The verbs of the command line as functions: settings are keywords, results are objects.

They show the same progress on stderr, which `quiet=True` switches off, and raise the errors that
the command line prints.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from inspect import Parameter, Signature, signature
from keyword import iskeyword
from os import PathLike, fspath
from textwrap import fill
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_origin

from shardsift.cli.catalogue import known_keys
from shardsift.cli.console import PlainConsole
from shardsift.config import Config, RunConfig, fields_by_key, load_config
from shardsift.config.filter_settings import FilterConfig
from shardsift.config.verb_settings import (
    AskConfig,
    CompactConfig,
    CompareConfig,
    ExportConfig,
    ReportConfig,
    ReshardConfig,
    StatsConfig,
    VerifyConfig,
)
from shardsift.engine.environment import prepare_ray
from shardsift.redaction import clean

if TYPE_CHECKING:  # Ray and DuckDB take a second to load
    from shardsift.exporting.into import Exported
    from shardsift.filtering.query import FilterResult
    from shardsift.outputs.compaction import Compaction
    from shardsift.outputs.totals import Stats
    from shardsift.progress import Display
    from shardsift.reporting.written_pages import CompareResult, PageResult
    from shardsift.runs.ask_run import AskResult
    from shardsift.runs.reshard_run import ReshardResult
    from shardsift.runs.score_run import ScoreResult
    from shardsift.verification.any_output import Verified

Location = str | PathLike[str]
"""A path or any fsspec URL."""

ConfigT = TypeVar("ConfigT", bound=Config)
ResultT = TypeVar("ResultT")

_PRINTED = frozenset({"json", "open"})
"""Settings that only concern output of the command line."""

_COMMON = (
    ("config", None, "a YAML file of settings, or a name such as `laptop`; keywords win over it."),
    ("quiet", False, "show no progress."),
)
"""Parameters of every verb: name, default, description."""


def _documented(kind: type[Config]) -> Callable[[Callable[..., Any]], Any]:
    """Give a function the settings of a verb in its signature and its docstring."""

    def document(function: Callable[..., Any]) -> Callable[..., Any]:
        own = [p for p in signature(function).parameters.values() if p.kind != p.VAR_KEYWORD]
        names = {parameter.name for parameter in own}
        lines: list[str] = []
        for key, field in fields_by_key(kind).items():
            if key in _PRINTED:
                continue
            name = f"{key}_" if iskeyword(key) else key
            about = fill(f"{name}: {field.description}.", 96, subsequent_indent=" " * 12)
            lines.append(f"        {about}")
            if name not in names:
                default = Parameter.empty if field.is_required() else field.get_default()
                own.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default))
        for name, default, about in _COMMON:
            own.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default))
            lines.append(f"        {name}: {about}")
        told = cast(Any, function)
        told.__signature__ = Signature(own)
        told.__doc__ = f"{function.__doc__}\n    Args:\n" + "\n".join(lines)
        return function

    return document


@_documented(RunConfig)
def score(shards: Location | Iterable[Location], **settings: Any) -> ScoreResult:
    """Score all images of the shards, on Ray, as `shardsift score` does.

    Only shards that have no annotation yet are scored. The result has the `counts` of this run and
    the first shards that `failed`.

    Examples:
        >>> shardsift.score("corpus/*.tar", output="scores")  # on all GPUs
        >>> shardsift.score("corpus/*.tar", output="scores", config="laptop")  # without one

    Raises:
        UserError: if a setting, a shard, the output, the model or a GPU can't be used.
    """
    from shardsift.runs.score_run import score as run

    return _run(RunConfig, run, {"shards": shards}, settings)


@_documented(FilterConfig)
def filter(annotations: Location, **settings: Any) -> FilterResult:  # noqa: A001  # the verb's name
    """Keep the best samples, as `shardsift filter` does.

    The result has the `threshold`, and a `summary` that counts every row.

    Examples:
        >>> shardsift.filter("scores", keep_top=0.3, output="kept").summary.kept

    Raises:
        UserError: if a setting, a table or the output can't be used, or nothing is kept.
        AnnotationError: if an annotation file is damaged.
    """
    from shardsift.filtering.query import curate

    def run(config: FilterConfig, display: Display) -> FilterResult:
        return curate(config, display.track)

    return _run(FilterConfig, run, {"annotations": annotations}, settings)


@_documented(ReshardConfig)
def reshard(keep: Location, **settings: Any) -> ReshardResult:
    """Write new shards of the kept samples, on Ray, as `shardsift reshard` does.

    Only shards that aren't there yet are written. The result has the `counts` of this run and, once
    all shards are there, their `summary`.

    Examples:
        >>> shardsift.reshard("kept", output="clean").summary.samples

    Raises:
        UserError: if a setting, the inputs or the output can't be used.
        AnnotationError: if an annotation or a keep-list is damaged.
    """
    from shardsift.runs.reshard_run import reshard as run

    return _run(ReshardConfig, run, {"keep": keep}, settings)


@_documented(ReportConfig)
def report(annotations: Location, **settings: Any) -> PageResult:
    """Write the page of a run, as `shardsift report` does. The result has its `url`.

    Examples:
        >>> shardsift.report("scores", output="report").url

    Raises:
        UserError: if a setting, a table, the model or the output can't be used.
        AnnotationError: if an annotation file is damaged.
    """
    from shardsift.reporting.written_pages import write_report

    return _run(ReportConfig, write_report, {"annotations": annotations}, settings)


@_documented(VerifyConfig)
def verify(output: Location, **settings: Any) -> Verified:
    """Verify that an output is complete and consistent, as `shardsift verify` does.

    The result has `problems`, each with a remedy; `is_sound` is true if there are none.

    Examples:
        >>> assert shardsift.verify("scores").is_sound

    Raises:
        UserError: if there is no output, or it can't be read.
    """
    from shardsift.verification.any_output import verify_output

    return _run(VerifyConfig, verify_output, {"output": output}, settings)


@_documented(CompareConfig)
def compare(run_a: Location, run_b: Location, **settings: Any) -> CompareResult:
    """Compare the scores of two runs over the same shards, as `shardsift compare` does.

    The result has the `comparison`, and the files that were written, if there is an output.

    Examples:
        >>> shardsift.compare("scores", "other-scores").comparison.srcc

    Raises:
        UserError: if a setting or the output can't be used, or the runs share no sample.
        AnnotationError: if an annotation file is damaged.
    """
    from shardsift.reporting.written_pages import compare_runs

    return _run(CompareConfig, compare_runs, {"run_a": run_a, "run_b": run_b}, settings)


@_documented(AskConfig)
def ask(annotations: Location, **settings: Any) -> AskResult:
    """Ask new questions of a corpus with embeddings, on Ray, as `shardsift ask` does.

    Only shards that have no answers yet are asked. The result has the `counts` of this run, the
    `columns` of the answers and, unless it was stopped, their `summary`.

    Examples:
        >>> shardsift.ask("scores", output="answers", attribute="clip-iqa").summary.means

    Raises:
        UserError: if a setting, the embeddings or the output can't be used.
        AnnotationError: if an annotation is damaged.
    """
    from shardsift.runs.ask_run import ask as run

    return _run(AskConfig, run, {"annotations": annotations}, settings)


@_documented(StatsConfig)
def stats(annotations: Location, **settings: Any) -> Stats:
    """Count the rows, errors and quantiles of a run, as `shardsift stats` does.

    The result has the `total`, and the same of each of the `groups`.

    Examples:
        >>> shardsift.stats("scores").as_dict()["scored"]

    Raises:
        InputError: if there are no annotations.
        AnnotationError: if an annotation file is damaged.
    """
    from shardsift.outputs.totals import read_stats

    def run(config: StatsConfig, display: Display) -> Stats:
        return read_stats(config.annotations, config.beside, display.track)

    return _run(StatsConfig, run, {"annotations": annotations}, settings)


@_documented(CompactConfig)
def compact(annotations: Location, **settings: Any) -> Compaction:
    """Put many small annotation files into few large ones, as `shardsift compact` does.

    Examples:
        >>> shardsift.compact("scores", output="few").files

    Raises:
        UserError: if the run isn't complete, or the output holds something else.
        AnnotationError: if an annotation file is damaged.
    """
    from shardsift.outputs.compaction import compact as write

    def run(config: CompactConfig, display: Display) -> Compaction:
        return write(
            config.annotations,
            config.output,
            bytes_per_file=config.bytes_per_file,
            overwrite=config.overwrite,
            track=display.track,
        )

    return _run(CompactConfig, run, {"annotations": annotations}, settings)


@_documented(ExportConfig)
def export(annotations: Location, **settings: Any) -> Exported:
    """Write scores as columns of Parquet files, or as a table, as `shardsift export` does.

    The result has the numbers of `rows`, and of those that `matched` an annotation.

    Examples:
        >>> shardsift.export("scores", into="corpus/*.parquet", output="with-scores").matched

    Raises:
        UserError: if a setting, the files or the output can't be used.
        AnnotationError: if an annotation file is damaged.
    """
    from shardsift.exporting.export import export as write

    def run(config: ExportConfig, display: Display) -> Exported:
        return write(config, display.track)

    return _run(ExportConfig, run, {"annotations": annotations}, settings)


def _run(
    kind: type[ConfigT],
    run: Callable[[ConfigT, Display], ResultT],
    first: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> ResultT:
    given = {**first, **settings}
    quiet, file = bool(given.pop("quiet", False)), given.pop("config", None)
    fields = fields_by_key(kind)
    values: dict[str, Any] = {}
    for name, value in given.items():
        key = name[:-1] if iskeyword(name[:-1]) else name
        is_list = key in fields and get_origin(fields[key].annotation) is tuple
        values[key] = _plain(value, is_list=is_list)
    config = load_config(kind, file, values, others=known_keys(), in_python=True)
    prepare_ray(getattr(config, "address", None))
    with _log_lines(quiet):
        return run(config, PlainConsole(stderr=True, force_jupyter=False, is_quiet=quiet))


@contextmanager
def _log_lines(quiet: bool) -> Generator[None]:
    """Print the package's log lines to stderr in the block, unless the program handles them."""
    logger = logging.getLogger("shardsift")
    if quiet or logger.hasHandlers():
        yield
        return
    handler, level = logging.StreamHandler(), logger.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(clean)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _plain(value: Any, *, is_list: bool) -> Any:
    """Spell paths as text, and one value of a list as a list."""
    if isinstance(value, PathLike):
        value = fspath(cast(PathLike[str], value))
    if isinstance(value, str):
        return [value] if is_list else value
    if is_list and isinstance(value, Iterable):
        return [_plain(one, is_list=False) for one in cast(Iterable[Any], value)]
    return value
