"""An annotation's whole life: from a shard to its Parquet file, and all that reads such files."""
