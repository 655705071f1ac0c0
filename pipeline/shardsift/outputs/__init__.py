"""Outputs: folders that mirror the shards, with a sealed table a shard, and records."""
