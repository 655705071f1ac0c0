"""From an image file's bytes to RGB."""
