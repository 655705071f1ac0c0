"""Another output whose files stand row for row beside those of annotations: `--with`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from shardsift.columns import Column
from shardsift.errors import ConfigError, InputError
from shardsift.measures import Contents, MeasureRecord
from shardsift.outputs.output_folder import (
    AnnotatedShard,
    OutputFolder,
    find_annotations,
    is_answer_of,
)
from shardsift.outputs.sealed_table import Footer, schema_of
from shardsift.records import ShardReport
from shardsift.storage.files import absolute

NAMED = re.compile(r"(?P<url>.*\S)\s+AS\s+(?P<alias>[a-z]\w*)\s*", re.IGNORECASE | re.DOTALL)
"""A location with a name for SQL: `answers AS ai`."""


@dataclass(frozen=True, eq=False)
class Beside:
    """An output that adds columns to those of annotations.

    Attributes:
        alias: names it in SQL.
        given: its absolute location, as `--with` takes it.
        columns: the columns of its measures.
        may_lack: whether shards that it doesn't have are null, and no error.
        digests: of the rows of the files that were read, by name.
    """

    folder: OutputFolder
    alias: str
    given: str = ""
    may_lack: bool = False
    digests: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def url(self) -> str:
        """Its folder or URL."""
        return self.folder.url

    @property
    def columns(self) -> Sequence[Column]:
        """The columns of its measures."""
        measures = self.folder.contents.measures.values()
        return [column for measure in measures for column in measure.columns]

    def read(self, annotated: AnnotatedShard, names: Sequence[str]) -> Any:
        """Read columns of the rows for an annotated shard, as a `pyarrow.Table`.

        Raises:
            InputError: if the rows are of other samples, or answer other embeddings.
            AnnotationError: if the file is damaged.
        """
        if annotated.name not in self.folder.committed:
            self._check_lacking(annotated)
            schema = schema_of(self.folder.contents, names)
            return pa.table([pa.nulls(annotated.rows, each.type) for each in schema], schema=schema)
        footer, table = self.folder.annotations.read_with_footer(annotated.name, ["index", *names])
        self._check(annotated, footer)
        return table.select(names)

    def report(self, annotated: AnnotatedShard) -> ShardReport | None:
        """Return the report of the file beside a shard's, or None. Raises as `read`."""
        if annotated.name not in self.folder.committed:
            self._check_lacking(annotated)
            return None
        footer = self.folder.annotations.footer(annotated.name)
        self._check(annotated, footer)
        return footer.report

    def _check_lacking(self, annotated: AnnotatedShard) -> None:
        if not self.may_lack:
            raise InputError(
                f"{self.url}: has no file for {annotated.shard}; run its command again (`filter "
                "--allow-missing` uses nulls instead)"
            )

    def _check(self, annotated: AnnotatedShard, footer: Footer) -> None:
        if not is_answer_of(footer, annotated):
            sources = annotated.rows_digest == footer.rows_digest
            what = "answers other embeddings than it has" if sources else "is of other samples"
            verb = "ask" if self.folder.contents.sources else "score"
            raise InputError(
                f"{self.url}: the file of {annotated.shard} {what} now, as one of them was "
                f"written again; {verb} again into {self.url}"
            )
        self.digests[annotated.name] = footer.report.digest


def find_beside(words: Sequence[str], *, may_lack: bool = False) -> Sequence[Beside]:
    """Open outputs, each as `URL` or `URL AS name`; without a name it is `other`, then `other2`.

    Raises:
        InputError: if one isn't there.
        AnnotationError: if its record is damaged.
        ConfigError: if two have one name.
    """
    found: dict[str, Beside] = {}
    for number, word in enumerate(words, start=1):
        named = NAMED.fullmatch(word)
        alias = named["alias"] if named else f"other{number if number > 1 else ''}"
        if alias.lower() in found:
            raise ConfigError(f"--with {word}: there is another output {alias}")
        folder = find_annotations(named["url"] if named else word)
        if folder.record is None:
            raise InputError(f"{folder.url}: no _run.json here; name an output")
        given = absolute(folder.url) + (f" AS {alias}" if named else "")
        found[alias.lower()] = Beside(folder, alias, given, may_lack)
    return list(found.values())


def contents_with(contents: Contents, outputs: Sequence[Beside]) -> Contents:
    """Describe annotations with the columns of outputs that `add_columns` adds."""
    added = tuple(column for _, _, column in _added(contents, outputs))
    record = MeasureRecord(digest="", columns=added, needs=())
    return replace(contents, measures={**contents.measures, "beside": record})


def add_columns(
    table: Any, annotated: AnnotatedShard, contents: Contents, outputs: Sequence[Beside]
) -> Any:
    """Append the further columns of outputs to all rows of an annotated shard.

    A name that is taken becomes `other.attr_text`. Raises as `Beside.read`.
    """
    for output in outputs:
        added = [each for each in _added(contents, outputs) if each[0] is output]
        own = output.read(annotated, [name for _, name, _ in added])
        for _, name, column in added:
            table = table.append_column(column.name, own[name])
    return table


def _added(contents: Contents, outputs: Sequence[Beside]) -> Iterator[tuple[Beside, str, Column]]:
    """Yield further columns of outputs: the output, the name there, and the new name."""
    taken = {column.name for column in contents.columns}
    for output in outputs:
        for column in output.folder.contents.further:
            names = {"name": f"{output.alias}.{column.name}"}
            names["label"] = f"{output.alias}: {column.title}"
            is_taken = column.name in taken
            taken.add(column.name)
            named = column.model_copy(update=names) if is_taken else column
            yield output, column.name, named
