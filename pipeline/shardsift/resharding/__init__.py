"""From a keep-list to a clean corpus: new tars of the kept samples, byte for byte and in order.

reshard_config.py   what a person may ask for
packing.py    which samples go into which output shard: computed first, saved, read by a resume
folder.py     the output folder
prepare.py    inputs that belong together, found and checked, to a plan
rows.py       the kept samples of a source shard: where they lie, how they were scored
headers.py    tar headers as bytes
source.py     the kept samples of a source shard, by byte range or front to back
merge.py      their bytes in a new tar, with the scores in their `.json`
write.py      one output shard: the core loop
"""
