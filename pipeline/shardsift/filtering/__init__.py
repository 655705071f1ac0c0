"""From annotations to the samples worth keeping: `filter`, its keep-lists, and `keep` to load them.

expressions.py    SQL of one row, checked and rewritten
joined_tables.py  tables of others: `--join`, `--exclude`, `--on`
database.py       DuckDB: its files, its memory, its errors
imported.py       any Parquet with the columns of annotations
rows.py           all rows in the database: outcome, value, group
selection.py      the threshold, and the rows that reach it
query.py          all of it together
kept_folder.py    the output folder, its keep-lists, and DataComp's subset file
keep_list.py      `keep`, for training loops
"""
