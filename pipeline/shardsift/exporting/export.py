"""`export`: scores as columns of somebody's Parquet, or as a table of all rows."""

from __future__ import annotations

from collections.abc import Sequence

from shardsift.config import did_you_mean
from shardsift.config.verb_settings import ExportConfig
from shardsift.errors import ConfigError
from shardsift.exporting.into import Exported, export_into
from shardsift.exporting.matching import Annotations
from shardsift.exporting.tables import write_table
from shardsift.measures import MACLIP, Contents
from shardsift.outputs.beside import contents_with, find_beside
from shardsift.outputs.output_folder import find_scores, read_annotation_set
from shardsift.outputs.run_folder import check_apart
from shardsift.threads import Track, no_track

_CUES = ("quality", "q_sim", "q_mag")


def export(config: ExportConfig, track: Track = no_track) -> Exported:
    """Add columns to Parquet files, or write a table of all rows.

    Raises:
        UserError: if a setting, the files or the output can't be used.
        AnnotationError: if an annotation file is damaged.
    """
    found = read_annotation_set(
        find_scores(config.annotations), allow_missing=config.allow_missing, track=track
    )
    outputs = find_beside(config.beside, may_lack=config.allow_missing)
    contents = contents_with(found.contents, outputs)
    names = _chosen(config, contents)
    annotations = Annotations(found=found, outputs=outputs, names=names)
    if config.into:
        return export_into(config, annotations, config.output, track)
    assert config.to, "checked by the config"
    check_apart(config.output, found.url)
    rows = write_table(config.to, annotations, config.output, track, overwrite=config.overwrite)
    return Exported(files=1, rows=rows, matched=rows)


def _chosen(config: ExportConfig, contents: Contents) -> Sequence[str]:
    """Return the names of the columns to write. Raises ConfigError."""
    known = [column.name for column in contents.columns]
    for name in config.columns:
        if name not in known:
            hint = did_you_mean(name, known, f"there are {', '.join(known)}")
            raise ConfigError(f"--columns {name}: no such column; {hint}")
    if config.columns:
        return list(dict.fromkeys(config.columns))
    if config.to:
        return [name for name in known if name not in contents.unmeasured]
    measures = (contents.measures[name] for name in sorted({*contents.measures} - {MACLIP}))
    return [*_CUES, *(column.name for each in measures for column in each.columns), "error"]
