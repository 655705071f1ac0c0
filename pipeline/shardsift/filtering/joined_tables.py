"""Tables of others that rows of annotations are looked up in: `--join`, `--exclude`, `--on`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardsift.config import did_you_mean
from shardsift.errors import ConfigError, InputError
from shardsift.filtering.database import Database, QueryError, escaped, literal, quoted
from shardsift.filtering.expressions import Column, field_kind
from shardsift.measures import Contents
from shardsift.outputs.beside import NAMED, Beside
from shardsift.outputs.sealed_table import read_metadata, schema_of
from shardsift.redaction import reason
from shardsift.storage.files import join, list_files, located, open_read, pattern_of
from shardsift.threads import map_ordered

_READERS = {
    r"\.(parquet|pq)": "read_parquet({}, union_by_name = true)",
    r"\.[ct]sv(\.gz|\.zst)?": "read_csv({}, union_by_name = true)",
    r"\.(json|jsonl|ndjson)(\.gz|\.zst)?": "read_json({}, union_by_name = true)",
}
"""Kinds of files by extension, and DuckDB's readers. In a folder, only the first existing kind is
read, as img2dataset writes JSON files with statistics beside its Parquet."""

_KINDS = (
    "Parquet (.parquet, .pq), CSV (.csv, .tsv) or JSON lines (.jsonl, .json): a file, a folder or "
    "a glob"
)

OWN = "annotations"
"""Names the table of annotations: `annotations.width`."""

_KEYS = (("shard", "key"), ("uid",), ("key",), ("shard", "index"))
"""Columns that name a row: the first of these that a table has are used.

Other tools' `index` may be anything.
"""

_INTEGERS = frozenset(f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL")) | {
    "INTEGER",
    "UINTEGER",
}
_THREADS = 32
_NESTED = re.compile(r"(STRUCT|MAP|UNION)\(|.*\]$")


# --- columns ---------------------------------------------------------------------------------


class Source:
    """Columns that expressions may name: of annotations, or of a table of others.

    Attributes:
        alias: what SQL calls it.
        kinds: DuckDB's types of the columns.
    """

    alias = OWN

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self.kinds = kinds

    def find(self, name: str) -> Sequence[str]:
        """Return the columns that a name may mean; SQL ignores case.

        If several only differ in case, the one with exactly this name is meant.
        """
        alike = [column for column in self.kinds if column.lower() == name.lower()]
        return [name] if name in alike else alike

    def column(self, name: str, fields: Sequence[str]) -> Column:
        """Return a column, or a field of a struct. Raises LookupError if there is no such field."""
        if fields:
            raise LookupError(f"no column {'.'.join([name, *fields])}; {name} has no fields")
        return Column(name, *_clean(self.kinds[name], f"a.{quoted(name)}"))


class OutputSource(Source):
    """Columns of another output, which a query finds in annotations' own rows: `ai.attr_text`."""

    def __init__(self, output: Beside) -> None:
        schema = schema_of(output.folder.contents, [c.name for c in output.columns])
        super().__init__({each.name: _own_kind(each.type) for each in schema})
        self.output: Beside = output
        self.alias: str = output.alias

    def column(self, name: str, fields: Sequence[str]) -> Column:
        """Return a column. Raises LookupError if a field of it is named."""
        plain = super().column(name, fields)
        name = f"{self.alias}.{name}"
        return Column(name, *_clean(self.kinds[plain.name], f"a.{quoted(name)}"))


class Columns:
    """All columns that an expression may name: of annotations, other outputs and joined tables.

    `own` gives the types of annotations' columns, which a query calls `a`.
    """

    def __init__(
        self, contents: Contents, tables: Sequence[Table] = (), outputs: Sequence[Beside] = ()
    ) -> None:
        kinds = {field.name: _own_kind(field.type) for field in schema_of(contents)}
        self.own: dict[Any, str] = {name: _clean(kind, "")[0] for name, kind in kinds.items()}
        self._sources: Sequence[Source] = [Source(kinds), *map(OutputSource, outputs), *tables]

    def resolve(self, path: Sequence[str]) -> Column:
        """Find the column of a dotted name: `width`, `laion.WIDTH`, `meta.aesthetic`.

        Of a name that annotations and a table spell alike, annotations' column is meant.

        Raises LookupError.
        """
        first, *rest = path
        aliased = [source for source in self._sources if source.alias.lower() == first.lower()]
        places = [(source, name) for source in aliased for name in source.find("".join(rest[:1]))]
        fields = rest[1:]
        if not places:
            own, fields = self._sources[0].find(first), rest
            places = [
                (source, name)
                for source in self._sources
                for name in source.find(first)
                if source is self._sources[0] or own != [name]
            ]
        if len(places) > 1:
            names = " or ".join(f"{source.alias}.{name}" for source, name in places)
            raise LookupError(f"{'.'.join(path)} may be {names}; write which")
        if places:
            source, name = places[0]
            return source.column(name, fields)
        known = list(dict.fromkeys(name for source in self._sources for name in source.kinds))
        dotted = [f"{source.alias}.{name}" for source in self._sources for name in source.kinds]
        name = ".".join(path)
        hint = did_you_mean(name, dotted if rest else known, f"there are {', '.join(known)}")
        raise LookupError(f"no column {name}; {hint}")

    def spelled(self, text: str) -> str:
        """Return an expression: a column's name, whatever signs it has, is one as it stands."""
        return quoted(text) if any(text in source.kinds for source in self._sources) else text


def _own_kind(kind: Any) -> str:
    """Return DuckDB's type of a column of annotations."""
    if pa.types.is_integer(kind):
        sizes = {8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}
        return f"{'' if pa.types.is_signed_integer(kind) else 'U'}{sizes[kind.bit_width]}"
    if pa.types.is_floating(kind):
        return "DOUBLE" if kind.bit_width > 32 else "FLOAT"
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    return "BLOB" if pa.types.is_fixed_size_binary(kind) else "VARCHAR"


def _clean(kind: str, sql: str) -> tuple[str, str]:
    """Return type and SQL of a value without NaN, and with integers that don't overflow.

    An area of large images doesn't fit 32 bits.
    """
    if kind in ("FLOAT", "DOUBLE"):
        return kind, f"CASE WHEN isnan({sql}) THEN NULL ELSE {sql} END"
    if kind in _INTEGERS:
        return "BIGINT", f"CAST({sql} AS BIGINT)"
    return ("VARCHAR", f"CAST({sql} AS VARCHAR)") if kind.startswith("ENUM(") else (kind, sql)


# --- tables ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """A column of annotations, and what equals it in another table, in SQL."""

    own: str
    other: str
    sql: str


class Table(Source):
    """A table of another tool, whose rows are matched by keys.

    Attributes:
        excludes: true if it lists rows to drop.
        rows: their number.
        is_only_by_key: true if rows are matched only by `key`, without `--on`.
    """

    def __init__(self, url: str, alias: str, on: str | None, *, excludes: bool = False) -> None:
        """Find the files of a table. Raises InputError if there are none."""
        super().__init__({})
        self.url: str = url
        self.alias: str = alias
        self.excludes: bool = excludes
        self.is_only_by_key = False
        self.number = self.rows = 0
        self.keys: Sequence[Key] = ()
        self._on = on
        self._once = ""
        self._names: Mapping[str, str] = {}  # DuckDB's names by the files' own
        self._found, reader = find_files(url)
        if not excludes and "measures" in read_metadata(self._found[0]):
            raise InputError(f"{url}: is an output of Shardsift; pass its folder to --with")
        self.files: list[str] = [located(file) for file in self._found]
        self.sql = reading(reader, self.files)

    def open(self, database: Database, number: int, own: Mapping[str, str]) -> None:
        """Read the names of columns, count rows, and find the keys, given annotations' columns.

        Raises:
            InputError: if the files can't be read, or have no keys.
            ConfigError: if `--on` names a column that isn't there.
        """
        self.number: int = number
        try:
            described = database.run(f"DESCRIBE SELECT * FROM {self.sql}")
            self._names = self._spell(database, [name for name, *_ in described])
        except (QueryError, OSError, pa.ArrowException) as error:
            raise InputError(f"{self.url}: can't be read: {reason(error)}") from error
        rows = zip(self._names, described, strict=True)
        self.kinds: dict[str, Any] = {name: row[1] for name, row in rows}
        ((count,),) = database.run(f"SELECT count(*) FROM {self.sql}")
        self.rows: int = count
        if not count:
            raise InputError(f"{self.url}: holds no rows")
        pairs = self._pairs(own)
        self.keys = [self._key(left, right, own) for left, right in pairs]
        if self.sql.startswith("read_csv"):  # else 1e5 would be read as a number
            texts = {right for left, right in pairs if own[left] == "VARCHAR"}
            types = ", ".join(f"{quoted(self._names[name])}: 'VARCHAR'" for name in sorted(texts))
            self.sql: str = self.sql.removesuffix(")") + f", types = {{{types}}})"

    def column(self, name: str, fields: Sequence[str]) -> Column:
        """Return a column, or a field of a struct. Raises LookupError if there is no such field."""
        kind, path = self.kinds[name], [self._names[name], *fields]
        sql = ".".join(map(quoted, path))
        kind, sql = _clean(field_kind(kind, fields) if fields else kind, sql)
        return Column(".".join([self.alias, *path]), kind, sql, self.number)

    @property
    def on(self) -> str:
        """The keys, as `--on` spells them."""
        return ",".join(k.own if k.own == k.other else f"{k.own}={k.other}" for k in self.keys)

    def select(self, columns: Iterable[Column], keys: Sequence[Key] = ()) -> str:
        """Select the keys, or other `keys` if given, and the table's own columns."""
        if self._once and not keys:
            return f"SELECT * FROM {self._once}"
        names = [f"{key.sql} AS on{place}" for place, key in enumerate(keys or self.keys)]
        names += [f"{c.sql} AS {quoted(c.name)}" for c in columns if c.table == self.number]
        distinct = "DISTINCT " if self.excludes else ""
        return f"SELECT {distinct}{', '.join(names)}, true AS found FROM {self.sql}"

    def condition(self, keys: Sequence[Key] = ()) -> str:
        """Return the SQL that is true if a row of the table, `tN`, is that of annotations, `a`."""
        sides = ((f"a.{quoted(key.own)}", n) for n, key in enumerate(keys or self.keys))
        return " AND ".join(f"{own} = t{self.number}.on{place}" for own, place in sides)

    def merge(self, database: Database, columns: Iterable[Column]) -> None:
        """Replace the rows of each key by one row.

        Raises InputError if they differ in one of the columns.
        """
        names = [quoted(column.name) for column in columns if column.table == self.number]
        keys = ", ".join(f"on{place}" for place in range(len(self.keys)))
        values = "".join(f", max({name}) AS {name}" for name in names)
        differs = " OR ".join(["false", *(f"min({n}) IS DISTINCT FROM max({n})" for n in names)])
        once = f"once{self.number}"
        database.run(
            f"CREATE TABLE {once} AS SELECT {keys}{values}, true AS found, {differs} AS differs "
            f"FROM ({self.select(columns)}) WHERE on0 IS NOT NULL GROUP BY {keys}"
        )
        ((different,),) = database.run(f"SELECT count_if(differs) FROM {once}")
        if different:
            raise InputError(
                f"{self.url}: has different rows for {different:,} values of {self.on}; name the "
                "key with --on"
            )
        self._once = once

    def others(self, own: Mapping[str, str]) -> Iterator[tuple[str, Sequence[Key]]]:
        """Yield other keys that rows could be found by, as `--on` and as keys."""
        for names in _KEYS:
            if {*names} <= {*self.kinds} and (on := ",".join(names)) != self.on:
                yield on, [self._key(name, name, own) for name in names]

    def _pairs(self, own: Mapping[str, str]) -> Sequence[tuple[str, str]]:
        """Pair the columns that rows are found by: of annotations, and of this table."""
        if self._on is None:
            keys = next((keys for keys in _KEYS if {*keys} <= {*self.kinds}), None)
            if keys is None:
                remedy = "name the key, such as --on key=COLUMN, with one of its columns"
                if self.excludes:
                    remedy = "rename one of its columns"
                raise InputError(
                    f"{self.url}: has no uid, key, or shard and index to match rows by; {remedy} "
                    f"{', '.join(self.kinds)}"
                )
            self.is_only_by_key: bool = keys == ("key",)
            return [(name, name) for name in keys]
        pairs: list[tuple[str, str]] = []
        for word in self._on.split(","):
            left, equals, right = map(str.strip, word.partition("="))
            right = right if equals else left
            for name, names, of in ((left, own, OWN), (right, self.kinds, self.url)):
                if name not in names:
                    hint = did_you_mean(name, names, f"there are {', '.join(names)}")
                    raise ConfigError(f"--on {self._on}: no column {name} in {of}; {hint}")
            pairs.append((left, right))
        return pairs

    def _key(self, left: str, right: str, own: Mapping[str, str]) -> Key:
        """Make a key: what annotations have as text is compared as text."""
        kind, there, sql = own[left], self.kinds[right], quoted(self._names[right])
        if kind == "VARCHAR" and not _NESTED.match(there):
            is_bytes = there == "BLOB"  # some writers of Parquet store text as bytes
            return Key(
                left, right, f"TRY(decode({sql}))" if is_bytes else f"CAST({sql} AS VARCHAR)"
            )
        if kind == "BLOB" and there in ("BLOB", "VARCHAR"):
            return Key(left, right, sql if there == "BLOB" else f"TRY(unhex({sql}))")
        if kind in ("BIGINT", "UBIGINT") and (there.endswith("INT") or there in _INTEGERS):
            return Key(left, right, f"TRY_CAST({sql} AS {kind})")
        raise InputError(f"{self.url}: {right} is {there}, and {left} of annotations {kind}")

    def _spell(self, database: Database, described: Sequence[str]) -> Mapping[str, str]:
        """Map names of columns as files spell them to DuckDB's: of `WIDTH` and `width` it calls the
        second `width_1`, so that SQL can tell them apart.

        Raises InputError if it can't be known which is which.
        """
        lower = {name.lower() for name in described}
        if not any(re.sub(r"_\d+$", "", name) in lower - {name} for name in lower):
            return {name: name for name in described}
        numbers = range(len(self.files))
        headers = {*map_ordered(partial(self._header, database), numbers, _THREADS)}
        for header in headers:
            times = Counter(name.lower() for name in header)
            alike = [name for name in header if times[name.lower()] > 1]
            if len({*alike}) < len(alike):
                problem = f"has a column {alike[0]} twice"
                raise InputError(f"{self.url}: {problem}; rename one")
            if alike and len(headers) > 1:
                problem = f"has {' and '.join(alike)}, and its files have different columns"
                raise InputError(f"{self.url}: {problem}; rename one")
        written, *others = headers
        names = described if others else [*written, *described[len(written) :]]
        return dict(zip(names, described, strict=True))

    def _header(self, database: Database, number: int) -> tuple[str, ...]:
        """Return the names of columns as a file spells them; none of JSON."""
        if self.sql.startswith("read_csv"):
            path = literal(escaped(self.files[number]))
            query = f"SELECT * FROM read_csv({path}, header = false, all_varchar = true) LIMIT 1"
            return tuple(map(str, database.run(query)[0]))
        if not self.sql.startswith("read_parquet"):
            return ()
        with open_read(self._found[number]) as content:
            return tuple(pq.read_schema(content).names)


def joined_tables(
    joins: Sequence[str], on: Sequence[str] = (), excludes: Sequence[str] = ()
) -> Sequence[Table]:
    """Find the tables of `--join`, with `--on`, and of `--exclude`.

    Raises:
        InputError: if one isn't there.
        ConfigError: if two have one name.
    """
    keys = [*on] if len(on) == len(joins) else [on[0] if on else None] * len(joins)
    tables: list[Table] = []
    for number, (given, key) in enumerate(zip(joins, keys, strict=True), start=1):
        named = NAMED.fullmatch(given)
        alias = named["alias"] if named else f"joined{number if number > 1 else ''}"
        if alias.lower() in (OWN, *(table.alias.lower() for table in tables)):
            raise ConfigError(f"--join {given}: there is another table {alias}")
        tables.append(Table(named["url"] if named else given, alias, key))
    return [*tables, *(Table(url, "excluded", None, excludes=True) for url in excludes)]


def open_tables(
    database: Database,
    contents: Contents,
    tables: Sequence[Table],
    outputs: Sequence[Beside] = (),
) -> Columns:
    """Open tables; return the columns that expressions may name. Raises UserError."""
    aliases = Counter([OWN, *(each.alias.lower() for each in (*outputs, *tables))])
    if twice := [alias for alias, times in aliases.items() if times > 1 and alias != "excluded"]:
        raise ConfigError(f"--with and --join: two tables are called {twice[0]}; name one by AS")
    own = Columns(contents).own
    for number, table in enumerate(tables):
        table.open(database, number, own)
    return Columns(contents, [table for table in tables if not table.excludes], outputs)


def select(
    columns: Collection[Column], tables: Sequence[Table], rows: int, further: Sequence[str] = ()
) -> str:
    """Select columns of annotations, `a`, and of the tables that are joined to them.

    `foundN` tells whether table N has the row. `rows` is the number of rows; a row is repeated if a
    table has its key several times.
    """
    names = [*further]
    for column in columns:
        sql = column.sql if column.table is None else f"t{column.table}.{quoted(column.name)}"
        names.append(f"{sql} AS {quoted(column.name)}")
    joined = f"{OWN} a"
    for number, table in enumerate(tables):
        names.append(f"t{number}.found IS TRUE AS found{number}")
        selected = f"({table.select(columns)}) t{number}"
        # DuckDB holds the right side of a join in memory: put the smaller table there
        if table.rows <= rows:
            joined = f"{joined} LEFT JOIN {selected} ON {table.condition()}"
        else:
            whole = f"({joined})" if number else joined
            joined = f"{selected} RIGHT JOIN {whole} ON {table.condition()}"
    return f"SELECT {', '.join(names)} FROM {joined}"


# --- files -----------------------------------------------------------------------------------


def find_files(url: str) -> tuple[Sequence[str], str]:
    """List the files of a table, and return what reads them, in SQL. Raises InputError."""
    reader = next((sql for end, sql in _READERS.items() if _ends(url, end)), None)
    is_glob, problem = bool({*"*?["} & {*url}), f"no table here; name {_KINDS}"
    if reader:
        try:
            open_read(url).close()  # raises for a pipe; DuckDB would wait for it
        except OSError as error:  # it may be a folder, as Spark writes them
            problem = problem if is_glob else f"can't be read: {reason(error)}"
        else:
            return [url], reader
    folder, matches = url, re.compile("").match
    if is_glob and not list_files(url):
        before = re.split(r"[*?\[]", url, maxsplit=1)[0]
        folder, slash, _ = before.rpartition("/")
        folder, pattern = (folder or "/", url) if slash else (".", f"./{url}")
        matches = pattern_of(pattern).match
    # skip hidden names and those that hold no data, such as Delta's log
    names = [n for n in list_files(folder) if not any(p[0] in "_." for p in n.split("/") if p)]
    for end, sql in _READERS.items():
        found = [n for n in sorted(names) if _ends(n, end) and matches(join(folder, n))]
        if found:
            return [join(folder, name) for name in found], sql
    raise InputError(f"{url}: {problem}")


def reading(reader: str, files: Sequence[str]) -> str:
    """Return what reads files, in SQL."""
    return reader.format(f"[{', '.join(literal(escaped(file)) for file in files)}]")


def is_parquet(name: str) -> bool:
    """Return whether a name, or a glob, is that of Parquet."""
    return _ends(name, r"\.(parquet|pq)")


def _ends(name: str, end: str) -> bool:
    return re.search(f"{end}$", name, re.IGNORECASE) is not None
