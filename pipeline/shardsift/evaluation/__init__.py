"""Agreement of scores with human opinion."""
