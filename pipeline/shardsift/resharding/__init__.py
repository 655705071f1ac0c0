"""From a keep-list to a clean corpus: new tars of the kept samples, byte for byte and in order.

packing.py         the plan: which samples go into which tar; saved for a resumed run
reshard_folder.py  the output folder
prepare.py         the checks that inputs belong together, and the plan made of them
source.py          the kept samples of a source shard, by byte range or front to back
new_tar.py         one tar: the core loop
"""
