"""The usual sets of images with human opinions, from their original folders to shards."""
