"""A condition means the same as in SQL: DuckDB gives the same rows of the same file."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from shardsift.config.filter_settings import FilterConfig
from shardsift.errors import ConfigError, ErrorCode
from shardsift.filtering.database import Database
from shardsift.filtering.expressions import Expression
from shardsift.filtering.joined_tables import OWN, Columns, select
from shardsift.filtering.query import curate
from shardsift.measures import Contents
from shardsift.outputs.sealed_table import read
from tests.generated import row, write_annotations

DATABASE = Database()


@pytest.fixture(scope="module")
def scored_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with scores, errors and nulls."""
    samples = [
        *(row(n, n / 40, height=50_000, width=50_000 + n) for n in range(40)),
        row(40, 0.7, uid=None, image_ext=None, key="it's"),
        row(41, ErrorCode.TRUNCATED),
    ]
    folder = write_annotations(tmp_path_factory.mktemp("where"), {"a.tar": samples})
    return str(folder / "a.parquet")


def parsed(condition: str) -> Expression:
    return Expression("--where", condition, Columns(Contents(measures={})).resolve)


def picked(condition: str, url: str) -> list[int]:
    """Indices of the rows that fulfil a condition."""
    expression = parsed(condition)
    source = select(expression.columns, (), 1, ["a.index AS row_index"])
    query = f"SELECT row_index FROM ({source}) WHERE {expression.sql} ORDER BY row_index"
    return [index for (index,) in DATABASE.run(query, {OWN: read(url)})]


def picked_by_duckdb(condition: str, url: str) -> list[int]:
    query = f"SELECT index FROM '{url}' WHERE {condition} ORDER BY index"
    return [index for (index,) in duckdb.execute(query).fetchall()]


@pytest.mark.parametrize(
    "condition",
    [
        "width >= 50010",
        "width >= 50010 AND q_mag > 0.7",
        "quality = 0.7 OR quality < 0.1",
        "quality * 1 = 0.7",
        "quality * 10 = 7",
        "NOT (quality > 0.5)",
        "quality BETWEEN 0.2 AND 0.4",
        "quality NOT BETWEEN 0.2 AND 0.4",
        "width * 1.0 * height > 2500500000",
        "q_sim + q_mag / 2 > 0.7",
        "index / 2 = 2.5",
        "-1 < index AND index <> 3",
        "width / (index - 3) > 5000",
        "width - 16777217 = -16727197",
        "uid IS NULL",
        "uid IS NOT NULL AND NOT error IS NULL",
        "error IN ('truncated', 'too_large')",
        "key NOT IN ('k1', 'k2')",
        "uid NOT IN ('x')",
        "image_ext = 'jpg'",
        "image_ext != 'png'",
        "key LIKE 'k_' OR key LIKE '%1'",
        "key NOT LIKE 'k_'",
        "key NOT ILIKE 'K1%'",
        "key ILIKE 'K3%'",
        r"key LIKE 'k\1' OR key LIKE 'k1\_' ESCAPE '\' OR key = 'k3'",
        "key = 'it''s'",
        "0.5 <= quality",
        "quality_min >= q_mag",
        "w_sim = 0.5 and (crops = 1 or width is null)",
        "uid IS DISTINCT FROM NULL",
        "lower(key) ~ 'k[12].' AND length(uid) = 32",
        "WIDTH >= 50010 -- a remark",
        "index > 2 AND log(index) < 1",
        " OR ".join(f"index = {n}" for n in range(2, 902)),
        f"index IN ({', '.join(map(str, range(5, 20_005)))})",
    ],
    ids=lambda condition: condition[:60],
)
def test_it_picks_the_rows_that_duckdb_picks(condition: str, scored_file: str) -> None:
    expected = picked_by_duckdb(condition, scored_file)
    assert picked(condition, scored_file) == expected
    assert 0 < len(expected) < 42, "a condition that picks all or nothing shows nothing"


@pytest.mark.parametrize("condition", ["width > 1e30", "width > 10000000000000000000000", "1 = 2"])
def test_nothing_is_an_answer(condition: str, scored_file: str) -> None:
    assert picked(condition, scored_file) == []


def test_sizes_of_large_images_do_not_overflow(scored_file: str) -> None:
    assert picked("width * height > 2500500000", scored_file) == list(range(11, 40))


def test_threads_share_the_parser() -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(parsed, "quality > 0.3 AND key LIKE '%1'") for _ in range(200)]
    assert len({answer.result().sql for answer in answers}) == 1


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("widht >= 256", "no column widht; did you mean width?"),
        ('q_mag > "0.7"', "no column 0.7"),
        ("a.quality > 1", "no column a.quality"),
        ("current_date > key", "no column current_date"),
        ("width >", "not an expression in SQL: syntax error at or near"),
        ("width > 3 AND (", "see character 17"),
        ("", "not an expression in SQL"),
        ("key BETWEEN SYMMETRIC 'b' AND 'a'", 'near "SYMMETRIC"; see character 13'),
        ("width LIKE 3", "No function matches"),
        ("lowr(key) = 'a'", "lowr isn't a function of one row; did you mean lower?"),
        ("random() < 0.5", "random isn't a function of one row"),
        ("quality > avg(quality)", "avg isn't a function of one row"),
        ("width > (SELECT 3)", "a subquery isn't allowed"),
        ("rank() OVER (ORDER BY key) < 3", "a window isn't allowed"),
        ("width > ?", "a parameter isn't allowed"),
        ("width > 3; DROP TABLE annotations", 'near ";"; see character 10'),
        ("true), (true", "not an expression in SQL, or more than one"),
        ("true) FROM range(3) WHERE (true", "not an expression in SQL, or more than one"),
        ("quality>0) UNION SELECT (1", "not an expression in SQL, or more than one"),
        ("quality > 0; SELECT 1", "syntax error"),
        ("quality = 1) LIMIT 1 --", "syntax error"),
        ("1); SELECT (2", "not an expression in SQL, or more than one"),
        ("key::nothing = 'a'", "--where"),
        ("(SELECT 1)::ENUM('a') = 'a'", "a subquery isn't allowed"),
        ("*", "a star isn't allowed"),
        ("COLUMNS(*) > 1", "a star isn't allowed"),
        ("read_text('/etc/passwd') = ''", "read_text isn't a function of one row"),
        ("(" * 3000 + "width > 3" + ")" * 3000, "is nested too deeply"),
        pytest.param(
            "width = 1" + " + 1" * 800,
            "is nested too deeply",
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 12), reason="Python reads it, so it is answered"
            ),
        ),
        ("width = 1" + " + 1" * 1_200, "is nested too deeply"),
        ("width > 3 OR " * 100_000 + "true", "more than 1,048,576"),
        ("key = '\udcff'", "not an expression in SQL"),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_wrong_is_said_in_one_line(condition: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        parsed(condition)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_condition_that_fails_on_a_row_blames_no_file(scored_file: str) -> None:
    folder = Path(scored_file).parent

    def ask(where: str) -> int:
        config = FilterConfig(annotations=str(folder), where=where, keep_top=1, dry_run=True)
        counts = curate(config).summary
        return counts.kept if counts else 0

    with pytest.raises(ConfigError, match="fails on a row: Could not convert string 'k0'"):
        ask("key::INTEGER > 3")
    with pytest.raises(ConfigError, match="Could not convert string 'wide' to INT64"):
        ask("width > 'wide'")
    assert ask("try_cast(key AS INTEGER) IS NULL") == 41
    with pytest.raises(ConfigError, match=r"fails on a row: Division by zero .* Use TRY\(\.\.\.\)"):
        ask("4 % index = 1")
    assert ask("TRY(4 % index) = 1") == 1


@pytest.mark.parametrize(
    "condition",
    [
        "year(DATE '2020-02-29') = 2020",
        "month(DATE '2020-02-29') = 2",
        "date_trunc('year', TIMESTAMP '2020-02-29 10:00:00') = DATE '2020-01-01'",
        "strftime(DATE '2020-02-29', '%Y') = '2020'",
        "split_part(key, '_', 1) = 'x' OR key IS NOT NULL",
        "list_max([1, 2]) = 2",
        "nullif(1, 2) = 1",
        "date_diff('day', DATE '2020-01-01', DATE '2020-01-02') = 1",
        "array_to_string(['a', 'b'], '-') = 'a-b'",
        "days_in_month(DATE '2020-02-01') = 29",
        "if(quality > 2, false, true)",
    ],
)
def test_functions_of_one_row_are_allowed_whatever_else_they_take(condition: str) -> None:
    rows = pa.table({"key": ["a"], "quality": pa.array([0.5], pa.float32())})
    expression = parsed(condition)
    source = select(expression.columns, (), 1, ["1 AS one"])
    assert DATABASE.run(f"SELECT {expression.sql} FROM ({source})", {OWN: rows}) == [(True,)]


@pytest.mark.parametrize(
    "function",
    ["now()", "today()", "uuid()", "ago(INTERVAL 1 DAY)", "current_database()", "geomean(quality)"],
)
def test_what_depends_on_more_than_the_row_is_refused(function: str) -> None:
    with pytest.raises(ConfigError, match="isn't a function of one row"):
        parsed(f"{function} IS NOT NULL")


HOSTILE = """
getenv('HOME') = 'x'|current_setting('threads') = 1|read_text('/etc/passwd') = ''
read_blob('/etc/passwd') IS NULL|glob('/*') = ''|(SELECT 1) = 1|pragma_version() = 1
duckdb_settings() = 1|nextval('s') = 1|txid_current() = 1|query('select 1') = 1
query_table('x') = 1|json_execute_serialized_sql('x') = 1|getvariable('x') = 1
in_search_path('a', 'b')|current_user = 'x'|current_schema() = 'x'
system.main.read_text('/etc/passwd') = ''|write_log('x') IS NULL|which_secret('s3://x', 's3') = ''
list_transform([1], lambda x: x) = [1]|current_timestamp > key|gen_random_uuid() = 'x'
random() > 0|setseed(1) IS NULL|current_query() = 'x'|add_parquet_key('a', 'b') IS NULL
sleep_ms(3) IS NULL|exists(FROM read_csv('/etc/passwd'))|key IN (SELECT 1)|key = any(SELECT 1)
(FROM '/etc/passwd') = 1|array(SELECT 1) = [1]|columns('k.*') = 'x'|*|unnest([1]) = 1
count(*) > 0|sum(quality) OVER () > 1|quality > 0; DROP TABLE rows
true) UNION ALL SELECT (true|true); ATTACH '/tmp/x' AS y; SELECT (true|true) --
cast(key AS nothing)|$1|?|quality > $x|getenv|read_csv_auto('/etc/passwd') = 1
parquet_metadata('x') = 1|sniff_csv('x') = 1|error('x') IS NULL|current_database() = 'x'
current_catalog = 'x'|enum_range(NULL::x) IS NULL|nextval|current_role = 'x'|to_json(rows) = 'x'
rows.value = 1|shards.seed = 1|a.quality > 1|t0.found|row_part = 1|row_index = 1|seed = 1
prefix = 'x'|outcome = 'kept'|group_key = 1|unique_key = 1
value = 1|upper_bits(1) = 1|mixed(1) = 1|tie_hash(1, 1) = 1
annotations|annotations.*|quality > (TABLE rows)|(VALUES (1)) = 1|(WITH c AS (SELECT 1) FROM c) = 1
"""


@pytest.mark.parametrize(
    "text", [word for line in HOSTILE.split("\n") for word in line.split("|") if word]
)
def test_nothing_but_the_row_can_be_reached(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parsed(text)
    assert "\n" not in str(error.value)
