"""What people look at: the report of a run, its comparison with another, one image explained."""
