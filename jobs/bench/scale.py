"""A sweep over clusters, its table and its picture."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.bench.harness import table, widen
from jobs.bench.outlook import Outlook, ScaleConfig, requests_for, simulate
from shardsift.drawing import new_figure


def measure(config: ScaleConfig, console: Console) -> None:
    """Simulate, print a table, write `scale.json` and `scale.png`."""
    found: dict[str, Any] = {"simulated": True, "config": config.model_dump(mode="json")}
    if config.real:
        from jobs.bench.real import hold_against_real  # starts Ray

        with console.status("one and two real actors"):
            checks = list(hold_against_real())
        found["checks"] = list(map(asdict, checks))
        for check in checks:
            console.print(
                f"{check.actors} of this machine's actors: {check.simulated:,.1f} pictures/s "
                f"simulated, {check.real:,.1f} real ({check.simulated / check.real:.2f} times)"
            )
    outlooks: list[Outlook] = []
    for store_gb_s in config.store_gb_s:
        for gpus in config.gpus:
            with console.status(f"{gpus} GPUs, a store of {store_gb_s:g} GB/s"), _silent_losses():
                outlooks.append(simulate(config, gpus, store_gb_s))
    widen(console)
    console.print(_outlook_table(outlooks, config))
    config.write("scale", found | {"outlooks": list(map(asdict, outlooks))}, console)
    picture = _draw_outlooks(outlooks, config, config.output / "scale.png")
    console.print(f"picture: {picture}", soft_wrap=True)


@contextmanager
def _silent_losses() -> Generator[None]:
    """Keep the log free of nodes that are lost on purpose."""
    logger = logging.getLogger("shardsift.engine")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _outlook_table(outlooks: list[Outlook], config: ScaleConfig) -> Table:
    """Tabulate time and cost of the corpus."""
    columns = ("store GB/s", "GPUs", "hours", "GPU hours", "pictures/s", "of GPUs", "held up by")
    return table(
        f"SIMULATED: {config.pictures:,} pictures in shards of {config.shard_pictures:,}, "
        f"{requests_for(config):,} requests",
        (*columns, "nodes lost"),
        [
            [
                f"{one.store_gb_s:g}",
                str(one.gpus),
                f"{one.hours:,.1f}",
                f"{one.gpu_hours:,.0f}",
                f"{one.pictures_per_second:,.0f}",
                f"{one.efficiency:.0%}",
                one.held_up_by,
                str(one.lost_nodes),
            ]
            for one in outlooks
        ],
        names=(6,),
        caption="of GPUs: what they do in what they would if they never waited",
    )


def _draw_outlooks(outlooks: list[Outlook], config: ScaleConfig, path: Path) -> Path:
    """Write a PNG of pictures a second by GPUs, a line for each store."""
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot()
    gpus = sorted({one.gpus for one in outlooks})
    ideal = [number * 1e6 / config.score_us for number in gpus]
    axes.plot(gpus, ideal, color="#b8b8b8", linestyle="--", label="GPUs that never wait")
    for store_gb_s, shade in zip(
        config.store_gb_s, ("#a9d6e5", "#468faf", "#01497c"), strict=False
    ):
        own = [one for one in outlooks if one.store_gb_s == store_gb_s]
        axes.plot(
            [one.gpus for one in own],
            [one.pictures_per_second for one in own],
            color=shade,
            marker="o",
            label=f"a store of {store_gb_s:g} GB/s",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(gpus, [str(number) for number in gpus])
    axes.set_xlabel("GPUs")
    axes.set_ylabel("pictures/s")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.set_title("Simulated: RN50, plan paper, 512x384 JPEGs, bfloat16", loc="left")
    figure.savefig(path, dpi=130)
    return path
