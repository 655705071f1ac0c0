"""`ray job submit --working-dir . -- python jobs/reshard.py`: `reshard` from a checkout."""

from checkout import run_verb

run_verb("reshard")
