"""`ray job submit --working-dir . -- python jobs/filter.py`: `filter` from a checkout."""

from checkout import run_verb

run_verb("filter")
