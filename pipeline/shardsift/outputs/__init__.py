"""What every output is: a folder that mirrors the shards, a sealed table a shard, and records."""
