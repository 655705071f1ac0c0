"""From a location to RGB: the plan of a run, the samples of a tar, their images."""
