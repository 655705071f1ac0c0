"""`ray job submit --working-dir . -- python jobs/score.py`: `score` from a checkout."""

from checkout import run_verb

run_verb("score")
