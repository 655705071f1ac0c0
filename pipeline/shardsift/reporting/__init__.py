"""Pages and pictures: the report of a run, its comparison with another, one image explained."""
