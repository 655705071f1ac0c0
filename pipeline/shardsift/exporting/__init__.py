"""Scores where people keep their metadata: columns of their Parquet, or a table of all rows.

export.py    what is asked for: annotations, columns, output
matching.py  annotations of the rows of other files, by place or by key
into.py      copies of Parquet files with further columns
tables.py    one table: CSV, JSON lines or Lance
"""
