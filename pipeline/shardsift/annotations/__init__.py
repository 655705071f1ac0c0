"""From a shard to its annotation: the core loop, and a run without Ray."""
