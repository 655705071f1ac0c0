"""MA-CLIP: images in, quality scores out."""
