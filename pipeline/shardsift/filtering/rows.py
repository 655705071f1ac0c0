"""The rows of annotations in a database, with values and reasons for dropping.

Annotations are read once, as `AnnotationFiles` reads them, so that damage is noticed and named.
The table `rows` in DuckDB has what the rule needs of each row: its shard and index, outcome, value,
and group of `--per`. What doesn't fit into memory is written below `TMPDIR`.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from shardsift.config import did_you_mean
from shardsift.config.filter_settings import MEGAPIXELS, PREFIX, FilterConfig
from shardsift.errors import AnnotationError, ConfigError, InputError
from shardsift.filtering.database import Database, QueryError, quoted
from shardsift.filtering.expressions import Column, Expression
from shardsift.filtering.joined_tables import OWN, Table, joined_tables, open_tables, select
from shardsift.filtering.kept_folder import JoinCounts
from shardsift.measures import Contents
from shardsift.outputs.beside import Beside
from shardsift.outputs.output_folder import AnnotatedShard, AnnotationSet
from shardsift.outputs.sealed_table import schema_of
from shardsift.shards.plan import shard_prefixes
from shardsift.storage.files import join
from shardsift.threads import Track, map_ordered, no_track

pc: Any = pyarrow.compute  # its functions are made at import, unseen by type checkers

logger: Final = logging.getLogger(__name__)

THREADS = 1 + (os.cpu_count() or 1)
"""While one waits for a disk, another works; more would wait for Python's lock."""

UNMATCHED = "(not joined)"
"""The group of rows that a joined table doesn't have."""

_NO_VALUE = "(none)"
_MEGAPIXELS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_SIDES = "annotations.width * annotations.height"
_SIZES = (
    "CASE "
    + " ".join(f"WHEN {_SIDES} < {end * 1e6:.0f} THEN {n}" for n, end in enumerate(_MEGAPIXELS[1:]))
    + f" WHEN {_SIDES} > 0 THEN {len(_MEGAPIXELS) - 1} END"
)
_FEW = 0.99
"""A smaller share of rows that a table has is worth a warning."""

DEFINITIONS = """
CREATE TYPE outcome AS ENUM (
    'ranked', 'dropped', 'listed', 'excluded', 'kept', 'valueless', 'duplicate');
CREATE MACRO wrapped(x) AS (x & 18446744073709551615::UHUGEINT)::UBIGINT;
CREATE MACRO added(x, y) AS wrapped(x::UHUGEINT + y::UHUGEINT);
CREATE MACRO multiplied(x, y) AS wrapped(x::UHUGEINT * y::UHUGEINT);
CREATE MACRO shaken(x, n, y) AS multiplied(xor(x, x >> n), y);
CREATE MACRO finished(x) AS xor(x, x >> 31);
CREATE MACRO mixed(x) AS finished(shaken(shaken(added(x, 11400714819323198485::UBIGINT),
    30, 13787848793156543929::UBIGINT), 27, 10723151780598845931::UBIGINT));
CREATE MACRO tie_hash(seed, row_index) AS mixed(added(seed, row_index));
CREATE MACRO upper_bits(value) AS (CASE WHEN value::DOUBLE >= 0
    THEN value::DOUBLE::BIT::UBIGINT + 9223372036854775808
    ELSE 18446744073709551615 - value::DOUBLE::BIT::UBIGINT END) >> 42;
"""
"""`mixed` is SplitMix64 (Steele, Lea and Flood, 2014), one to one. `tie_hash` decides between equal
values, the same on every machine and in every order of files. `upper_bits` are 22 bits of a number,
in the same order."""


class Rows:
    """All rows of a folder of annotations, with the columns that a rule needs.

    Attributes:
        kind: DuckDB's type of the values that rank: FLOAT, DOUBLE, BIGINT or UBIGINT.
        matches: numbers of rows with a match in other tables.
    """

    def __init__(
        self,
        config: FilterConfig,
        found: AnnotationSet,
        database: Database,
        tables: Sequence[Table],
        outputs: Sequence[Beside] = (),
    ) -> None:
        """Check the rule: every table, column and expression. Nothing is read yet.

        Raises UserError.
        """
        self.matches: list[JoinCounts] = []
        self._config, self._found, self._database, self._tables = config, found, database, tables
        self._outputs = outputs
        self._columns = open_tables(database, found.contents, tables, outputs)
        self._by = self._parse("by", config.by)
        self.kind: str = "UBIGINT" if config.random is not None else _ranked_kind(self._by)
        self._where = self._parse("where", config.where)
        if self._where and self._where.kind != "BOOLEAN":
            raise self._where.refusal(f"is a {self._where.kind}, not true or false")
        self._unique = self._parse("unique", config.unique)
        if self._unique and self._unique.kind.startswith(("FLOAT", "DOUBLE", "STRUCT", "MAP")):
            raise self._unique.refusal(f"is {self._unique.kind}; name text, or integers")
        sizes = {None: None, PREFIX: None, MEGAPIXELS: _SIZES}
        self._per = self._parse("per", sizes.get(config.per, config.per))
        self._named = {
            column.name: column
            for each in (self._by, self._where, self._unique, self._per)
            for column in (each.columns if each else ())
        }
        shards = [annotated.shard for annotated in found.shards]
        prefixes = pa.array([*shard_prefixes(shards).values()], pa.string()).dictionary_encode()
        self._group_names: Sequence[str] = prefixes.dictionary.to_pylist()
        if config.per == MEGAPIXELS:
            self._group_names = [f"{low:g} to {high:g} MP" for low, high in pairwise(_MEGAPIXELS)]
            self._group_names += [f"{_MEGAPIXELS[-1]:g} MP and more"]
        numbers = pa.array(range(len(shards)), pa.int32())
        columns = {"row_part": numbers, "prefix": prefixes.indices, "seed": tie_seeds(shards)}
        database.run("CREATE TABLE shards AS SELECT * FROM arrow", {"arrow": pa.table(columns)})
        database.run(DEFINITIONS)

    def _parse(self, flag: str, text: str | None) -> Expression | None:
        if not text:
            return None
        spelled = text if flag == "where" else self._columns.spelled(text)
        try:
            return Expression(f"--{flag}", text, self._columns.resolve, spelled)
        except ConfigError:
            words = (PREFIX, MEGAPIXELS) if flag == "per" else ()
            if hint := did_you_mean(text, words, ""):
                raise ConfigError(f"--{flag} {text}: no such group; {hint}") from None
            raise

    # --- reading ---------------------------------------------------------------------------------

    def read(self, track: Track) -> None:
        """Read annotations and joined tables into the table `rows`.

        Raises:
            InputError: if a table's keys are ambiguous, or match no row.
            ConfigError: if an expression fails on a row, such as a cast.
            AnnotationError: if a file is damaged.
        """
        self._fill(track)
        ((rows,),) = self._database.run("SELECT count(*) FROM rows")
        if rows > self._found.rows:  # the table has a key twice
            for table in self._tables:
                table.merge(self._database, self._named.values())
            self._fill(track)
        for table in self._tables:
            self._check_match(table)
        if self._unique:
            self._mark_duplicates()

    def annotations(self, columns: Collection[str], track: Track, title: str) -> Any:
        """Make a source of a query: columns of all annotations, and the number of their shard."""
        shards = self._found.shards
        names = sorted({"index", "quality", *(name for name in columns if "." not in name)})
        beside = {
            output: [n.partition(".")[2] for n in columns if n.startswith(f"{output.alias}.")]
            for output in self._outputs
        }
        schema = schema_of(self._found.contents, names)
        for output, own in beside.items():
            for each in schema_of(output.folder.contents, own):
                schema = schema.append(each.with_name(f"{output.alias}.{each.name}"))
        schema = schema.append(pa.field("row_part", pa.int32()))

        def read(number: int) -> Any:
            table = read_annotation(self._found, shards[number], names)
            arrays = table.columns
            for output, own in beside.items():
                arrays += output.read(shards[number], own).columns
            arrays.append(pa.repeat(pa.scalar(number, pa.int32()), len(table)))
            return pa.Table.from_arrays(arrays, schema=schema)

        def batches() -> Iterator[Any]:
            tables = map_ordered(read, range(len(shards)), THREADS)
            for table in track(tables, title, len(shards)):
                yield from table.to_batches()

        return self._database.stream(schema, batches())

    def _fill(self, track: Track) -> None:
        own = {column.name for column in self._named.values() if column.table is None}
        own |= {key.own for table in self._tables for key in table.keys}
        own |= {"error"} if self._config.errors == "keep" else set()
        source = {OWN: self.annotations(own, track, "reading rows")}
        try:
            self._database.run(f"CREATE OR REPLACE TABLE rows AS {self._query()}", source)
        except QueryError as error:
            given = self._config.model_dump(include={"by", "where", "unique", "per"})
            told = " ".join(f"--{flag} {text!r}" for flag, text in given.items() if text)
            raise ConfigError(f"{told}: fails on a row: {error}") from error

    def _query(self) -> str:
        """Select place, outcome, value, group and `--unique` key of each row, and its tables."""
        config, tables = self._config, self._tables
        keeps = config.errors == "keep"
        own = {"quality": Column("quality", "FLOAT", "a.quality")} | self._named
        further = ["a.row_part", "a.index AS row_index"]
        further += ["a.error"] if keeps and "error" not in own else []
        for table in tables:
            keys = ", ".join(f"a.{quoted(key.own)}" for key in table.keys)
            further.append(f"hash({keys}) AS key{table.number}")
        source = f"({select(own.values(), tables, self._found.rows, further)})"
        if config.random is not None or config.per == PREFIX:
            source += " JOIN shards USING (row_part)"
        group = "prefix" if config.per == PREFIX else "0::UTINYINT"
        if self._per:
            kind = "UTINYINT" if config.per == MEGAPIXELS else "VARCHAR"
            group = f"CAST({self._per.sql} AS {kind})"
        tests = {
            "dropped": "" if keeps else "quality IS NULL",
            "listed": " OR ".join(f"found{table.number}" for table in tables if table.excludes),
            "excluded": f"{self._where.sql} IS NOT TRUE" if self._where else "",
            "kept": "quality IS NULL",
            "valueless": "value IS NULL",
        }
        cases = " ".join(f"WHEN {test} THEN '{outcome}'" for outcome, test in tests.items() if test)
        columns = ["row_part", "row_index", "value", "group_key"]
        columns += [f"{name}{table.number}" for table in tables for name in ("found", "key")]
        columns += [f"{self._unique.sql} AS unique_key"] if self._unique else []
        columns += ["error"] if keeps else []
        return (
            f"SELECT CAST(CASE {cases} ELSE 'ranked' END AS outcome) AS outcome, "
            f"{', '.join(columns)} "
            f"FROM (SELECT *, {self._value()} AS value, {group} AS group_key FROM {source})"
        )

    def _value(self) -> str:
        """Return the SQL of the value that ranks a row; null for none."""
        if self._config.random is not None:
            return f"mixed(xor(tie_hash(seed, row_index), mixed({self._config.random}::UBIGINT)))"
        assert self._by, "a column ranks"
        value = f"CAST({self._by.sql} AS {self.kind})"
        if self.kind not in ("FLOAT", "DOUBLE"):
            return value
        # -0.0 and 0.0 rank alike
        cases = f"WHEN isnan({value}) THEN NULL WHEN {value} = 0 THEN 0"
        return f"CASE {cases} ELSE {value} END"

    # --- tables of others ------------------------------------------------------------------------

    def _check_match(self, table: Table) -> None:
        """Record the number of rows with a match in a table.

        Raises InputError if it has none of them, or if its key names several samples.
        """
        found, key = f"found{table.number}", f"key{table.number}"
        ((rows, keys),) = self._database.run(  # GROUP BY can spill to disk, count(DISTINCT) can't
            f"SELECT coalesce(sum(own), 0)::BIGINT, count(*) FROM (SELECT count(*) AS own "
            f"FROM rows WHERE {found} GROUP BY {key})"
        )
        shards, whole = self._found.shards, self._found.rows
        if table.is_only_by_key and not table.excludes and keys < rows:
            ((first, second, index),) = self._database.run(
                f"SELECT min(row_part), max(row_part), arg_min(row_index, row_part) FROM rows "
                f"WHERE {found} GROUP BY {key} HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
            )
            name = self._found.folder.annotations.read(shards[first].name, ["key"])["key"][index]
            raise InputError(
                f"{table.url}: key {name} names several samples, of {shards[first].shard} and "
                f"{shards[second].shard}; name the key, such as --on shard,key or --on uid"
            )
        problem = f"{rows:,} of {whole:,} rows have a match by {table.on}; the others have no value"
        if not rows:
            problem = (
                f"none of {whole:,} rows has a match by {table.on}: {self._side_by_side(table)}"
            )
            if not table.excludes:
                raise InputError(f"{table.url}: {problem}")
        if not rows or (rows < _FEW * whole and not table.excludes):
            logger.warning("%s: %s", table.url, problem)
        there = {"table_rows": table.rows, "table_rows_found": keys}
        self.matches.append(JoinCounts(table=table.url, on=table.on, rows=rows, **there))

    def _side_by_side(self, table: Table) -> str:
        """Format keys of annotations beside those of a table, and suggest what would match."""
        name, keys = self._found.shards[0].name, [key.own for key in table.keys]
        first = self._found.folder.annotations.read(name, keys).slice(0, 2).to_pylist()
        columns = ", ".join(key.sql for key in table.keys)
        sides = [
            ", ".join("/".join(map(str, row)) for row in rows)
            for rows in (
                [row.values() for row in first],
                self._database.run(f"SELECT {columns} FROM {table.sql} LIMIT 2"),
            )
        ]
        told = f"annotations have {sides[0]}, it has {sides[1]}"
        for on, others in table.others(self._columns.own):
            source = self.annotations([key.own for key in others], no_track, "")
            ((matching,),) = self._database.run(
                f"SELECT count(*) FROM {OWN} a SEMI JOIN ({table.select((), others)}) "
                f"t{table.number} ON {table.condition(others)}",
                {OWN: source},
            )
            if matching:
                return f"{told}; --on {on} would match {matching:,}"
        return told if table.excludes else f"{told}; name the key with --on"

    def _mark_duplicates(self) -> None:
        """Mark all but the best of each group as duplicates."""
        ((some,),) = self._database.run(
            "SELECT count(*) FROM rows WHERE outcome = 'ranked' AND unique_key IS NOT NULL"
        )
        if not some:
            name, hint = self._config.unique, "name another column"
            if name in ("phash", "sha256"):
                hint = f"score with --hashes {name}"
            raise InputError(f"--unique {name}: no row that could be kept has one; {hint}")
        self._database.run("""
            CREATE TABLE several AS SELECT unique_key FROM rows
            WHERE outcome = 'ranked' AND unique_key IS NOT NULL
            GROUP BY unique_key HAVING count(*) > 1;
            CREATE TABLE worse AS SELECT number FROM (
                SELECT r.rowid AS number, row_number() OVER (PARTITION BY unique_key ORDER BY
                    value DESC, tie_hash(seed, row_index) DESC, row_part DESC, row_index DESC
                ) AS place
                FROM rows r SEMI JOIN several USING (unique_key) JOIN shards USING (row_part)
                WHERE outcome = 'ranked'
            ) WHERE place > 1;
            UPDATE rows SET outcome = 'duplicate' FROM worse WHERE rows.rowid = worse.number;
            DROP TABLE several;
            DROP TABLE worse;
        """)

    def name_of(self, group: str | int | None, others: Sequence[str | int | None]) -> str:
        """Name a group: that of rows without a value as none of the others is named."""
        if isinstance(group, int):
            return self._group_names[group]
        if group is not None:
            return group
        name = UNMATCHED if self._per and self._per.is_joined else _NO_VALUE
        while name in others:
            name = f"({name})"
        return name


def label_rows(
    table: Any, flag: str, text: str, join: str | None, contents: Contents
) -> tuple[Any, Expression]:
    """Return the value of an expression for each row of a table of annotations, and the expression.

    Raises:
        ConfigError: if it isn't an expression.
        InputError: if the table to join can't be read, or matches no row.
    """
    tables = joined_tables([] if join is None else [join])
    with Database([file for each in tables for file in each.files]) as database:
        columns = open_tables(database, contents, tables)
        expression = Expression(flag, text, columns.resolve, columns.spelled(text))
        source = {OWN: table.append_column("row_number", pa.array(range(len(table))))}
        for each in tables:
            each.merge(database, expression.columns)
        found = ", ".join(f"found{each.number}" for each in tables)
        rows = select(expression.columns, tables, len(table), ["a.row_number"])
        query = f"SELECT row_number, {expression.sql} AS label, [{found}] AS found FROM ({rows})"
        answer = pa.Table.from_batches(
            database.batches(f"SELECT label, found FROM ({query}) ORDER BY row_number", source)
        )
    if tables and not pc.any(pc.list_element(answer["found"], 0)).as_py():
        raise InputError(f"{tables[0].url}: has none of the rows, looked up by {tables[0].on}")
    return answer["label"], expression


def worst_first(table: Any) -> NDArray[np.intp]:
    """Return the indices of rows of a table of annotations, from the worst to the best.

    They are in the order that a filter cuts, ties included; rows without a score come last.
    """
    names = table["shard"].unique().to_pylist()
    sources = {
        OWN: table.select(["shard", "index", "quality"]).append_column(
            "row_number", pa.array(range(len(table)))
        ),
        "shards": pa.table({"shard": pa.array(names, pa.string()), "seed": tie_seeds(names)}),
    }
    with Database() as database:
        database.run(DEFINITIONS)
        batches = database.batches(
            f"SELECT row_number FROM {OWN} JOIN shards USING (shard) "
            "ORDER BY quality NULLS LAST, tie_hash(seed, index)",
            sources,
        )
        places = [batch["row_number"].to_numpy() for batch in batches]
    return np.concatenate([np.empty(0, np.intp), *places]).astype(np.intp)


def tie_seeds(shards: Sequence[str]) -> Any:
    """Return where the hashes of each shard's rows begin, which decide ties."""
    digests = [hashlib.blake2b(shard.encode(), digest_size=8).digest() for shard in shards]
    return pa.array([int.from_bytes(digest, "little") for digest in digests], pa.uint64())


def _ranked_kind(by: Expression | None) -> str:
    """Return the type that values are ranked as. Raises ConfigError if they are no numbers."""
    assert by, "a column ranks"
    kind = by.kind
    if kind in ("FLOAT", "DOUBLE", "BIGINT", "UBIGINT"):
        return kind
    if kind in ("BOOLEAN", "INTEGER", "SMALLINT", "TINYINT", "UINTEGER", "USMALLINT", "UTINYINT"):
        return "BIGINT"
    if kind in ("HUGEINT", "UHUGEINT") or kind.startswith("DECIMAL"):
        return "DOUBLE"
    raise by.refusal(f"is {kind}; name a column of numbers")


def read_annotation(found: AnnotationSet, annotated: AnnotatedShard, columns: Sequence[str]) -> Any:
    """Read columns of a shard's annotation, quality among them.

    Raises:
        AnnotationError: if it is damaged, or another one than was found.
    """
    schema = schema_of(found.contents, columns)
    table = found.folder.annotations.read_again(annotated.name, schema, annotated.digest)
    quality, url = table["quality"], join(found.url, annotated.name)
    scored = len(quality) - quality.null_count
    if (len(table), scored) != (annotated.rows, annotated.scored):
        raise AnnotationError(
            f"{url}: its footer counts {annotated.rows:,} rows, {annotated.scored:,} of them "
            f"with a score; it has {len(table):,} and {scored:,}; see `shardsift verify`"
        )
    if not np.isfinite(quality.drop_null().to_numpy()).all():
        raise AnnotationError(f"{url}: has a quality that is not finite; see `shardsift verify`")
    return table
