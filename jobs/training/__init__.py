"""How the bundled compact CLIP is trained, without any human opinion."""
