"""New questions to a corpus that has embeddings, without reading an image.

ask_config.py   what a person may ask for
documents.py    what the JSON files hold
prepare.py      annotations that have embeddings, and their model, found and checked
answers.py      the answers of one shard: the core loop, and their file
folder.py       the output folder
verify.py       whether it is what was written
"""
