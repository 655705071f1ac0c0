"""From a keep-list to a clean corpus: new shards of the kept samples, in order.

packing.py         the plan: which samples go into which shard; saved for a resumed run
reshard_folder.py  the output folder
prepare.py         the checks that inputs belong together, and the plan made of them
source.py          the kept samples of a source shard, by byte range or front to back
sample_files.py    the files of a sample in a new tar
repacked.py        samples of Parquet files and folders as new files
new_shard.py       one shard: the core loop
"""
