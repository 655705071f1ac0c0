"""`ray job submit --working-dir . -- python jobs/ask.py`: `ask` from a checkout."""

from checkout import run_verb

run_verb("ask")
