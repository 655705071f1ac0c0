"""Training of the bundled compact CLIP, without any human opinion."""
