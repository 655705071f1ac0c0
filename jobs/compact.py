"""`ray job submit --working-dir . -- python jobs/compact.py`: `compact` from a checkout."""

from checkout import run_verb

run_verb("compact")
