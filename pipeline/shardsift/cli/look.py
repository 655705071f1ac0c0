"""The verbs that let people look: `evaluate`, `explain`, `report` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shardsift.cli.flags import ConfigFile

if TYPE_CHECKING:
    from shardsift.config import ScoreConfig

Model = Annotated[
    str | None,
    typer.Option(help="open_clip name, hf-hub:ORG/NAME, a model config .json, or compact."),
]
Pretrained = Annotated[str | None, typer.Option(help="Weights: a tag or a path.")]
Crops = Annotated[str | None, typer.Option(help="Crop plan: paper, fast, dense or global.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for verb in (report, compare, explain, evaluate, iqa_shards):
        app.command()(verb)


def evaluate(
    shards: Annotated[
        list[str], typer.Argument(help="Tars whose samples' .json holds an opinion score.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for table, figures and predictions.")],
    config: ConfigFile = None,
    model: Model = None,
    pretrained: Pretrained = None,
    crops: Crops = None,
    device: Device = "cpu",
    mos_field: Annotated[str, typer.Option(help="The opinion score's name in the .json.")] = "mos",
    higher_is_worse: Annotated[
        bool, typer.Option("--higher-is-worse", help="The opinions are DMOS.")
    ] = False,
    group_field: Annotated[
        str | None,
        typer.Option(help="Semantic group in the .json; by default zero-shot labels."),
    ] = None,
    ablate: Annotated[
        str | None,
        typer.Option(help="Comma-separated: lambda, weights, alpha, crops, dense, prompts."),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(help="A further model to compare, NAME or NAME=WEIGHTS; may be repeated."),
    ] = None,
    iqa_set: Annotated[
        str | None, typer.Option(help="Name of the set; the paper's figure stands beside ours.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=8, help="Read the first images only.")] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap; 0 for none.")] = 1000,
    no_brisque: Annotated[
        bool, typer.Option("--no-brisque", help="Leave BRISQUE out: it takes most of the time.")
    ] = False,
) -> int:
    """Compare scores with opinions: SRCC, KRCC, PLCC and RMSE, and the paper's figures."""
    scoring = _scoring(config, model=model, pretrained=pretrained, crops=crops)
    from shardsift.cli.console import start_console

    console = start_console()
    with console.status("loading torch"):
        from shardsift.cli.verbs.evaluate import baselines, run_evaluate
        from shardsift.evaluation.evaluate import EvaluateConfig
        from shardsift.evaluation.opinions import Question

    backbones = [name.partition("=") for name in backbone or ()]
    question = Question(
        mos_field=mos_field,
        group_field=group_field,
        baselines=baselines(with_brisque=not no_brisque),
        max_pixels=scoring.max_pixels,
        limit=limit,
    )
    settings = EvaluateConfig(
        scoring=scoring,
        question=question,
        device=device,
        higher_is_worse=higher_is_worse,
        resamples=resamples,
        ablate=[family.strip() for family in ablate.split(",")] if ablate else (),
        backbones=[(name, weights or None) for name, _, weights in backbones],
    )
    return run_evaluate(shards, output, settings, iqa_set, console)


def explain(
    images: Annotated[list[str], typer.Argument(help="Image files; any fsspec URL.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for heat maps; without it, the table alone.")
    ] = None,
    config: ConfigFile = None,
    model: Model = None,
    pretrained: Pretrained = None,
    crops: Crops = None,
    device: Device = "cpu",
    every_crop: Annotated[
        bool, typer.Option("--every-crop", help="A table of all crops of each image, too.")
    ] = False,
) -> int:
    """Show the cues of single images, and where they are bad."""
    scoring = _scoring(config, model=model, pretrained=pretrained, crops=crops)
    from shardsift.cli.console import start_console

    console = start_console()
    with console.status("loading torch"):
        from shardsift.cli.verbs.explain import run_explain

    return run_explain(images, output, scoring, device, console, every_crop=every_crop)


def report(
    annotations: Annotated[str, typer.Argument(help="The --output of a score run.")],
    output: Annotated[str, typer.Option(help="Folder or URL for report.html.")],
    shards: Annotated[
        str | None,
        typer.Option(help="Where the shards lie, if not where they were scored: their root."),
    ] = None,
    min_quality: Annotated[
        float | None, typer.Option(help="Where the slider stands at first.")
    ] = None,
    keep_top: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Or the share that it keeps at first.")
    ] = 0.3,
    thumbnails: Annotated[int, typer.Option(min=0, max=1000, help="Pictures in the page.")] = 240,
    rows: Annotated[
        int, typer.Option(min=1, help="Rows to read; of larger runs a sample is shown.")
    ] = 200_000,
) -> int:
    """One HTML page of a run: distributions, pictures, and what a threshold would keep."""
    from shardsift.cli.console import start_console
    from shardsift.cli.verbs.report import run_report
    from shardsift.report.live import Start

    return run_report(
        annotations,
        output,
        start_console(),
        shards=shards,
        start=Start(min_quality=min_quality, keep_top=keep_top),
        thumbnails=thumbnails,
        rows=rows,
    )


def compare(
    run_a: Annotated[str, typer.Argument(help="The --output of a score run.")],
    run_b: Annotated[str, typer.Argument(help="That of another one over the same shards.")],
    output: Annotated[Path | None, typer.Option(help="Folder for comparison.json.")] = None,
    keep_top: Annotated[
        list[float] | None, typer.Option(min=0.0, max=1.0, help="Shares to keep; may be repeated.")
    ] = None,
) -> int:
    """How far the scores of two runs differ, and how much of what they keep is the same."""
    from shardsift.cli.console import start_console
    from shardsift.cli.verbs.compare import run_compare
    from shardsift.report.compare import KEEP_TOPS

    return run_compare(run_a, run_b, output, keep_top or KEEP_TOPS, start_console())


def iqa_shards(
    name: Annotated[
        str,
        typer.Argument(
            help="koniq10k, spaq, livec, kadid10k, tid2013, csiq, agiqa3k, pipal or flive."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="The download, unpacked.")],
    output: Annotated[str, typer.Option(help="Folder or URL for the shards.")],
    images_per_shard: Annotated[int, typer.Option(min=1, help="Images in a shard.")] = 1000,
) -> int:
    """Turn a set of images with human opinions into shards for `evaluate`."""
    from shardsift.cli.console import start_console
    from shardsift.cli.verbs.iqa_shards import run_iqa_shards

    return run_iqa_shards(name, folder, output, images_per_shard, start_console())


def _scoring(config: str | None, **flags: Any) -> ScoreConfig:
    """The settings of a score, from a file and the flags that were given."""
    from shardsift.config import ScoreConfig, load_settings

    given = {key: value for key, value in flags.items() if value is not None}
    return load_settings(ScoreConfig, config, given)
