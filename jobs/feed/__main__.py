"""How quickly one actor could feed a GPU: `python -m jobs.feed`, from a checkout.

0 done   2 a mistake to mend
"""

from __future__ import annotations

from jobs.command import run_job
from jobs.feed.feed_config import FeedConfig
from jobs.feed.run import run_feed

if __name__ == "__main__":
    summary = "Measure an actor whose model costs nothing, stages alone and together."
    run_job("feed", FeedConfig, run_feed, summary)
