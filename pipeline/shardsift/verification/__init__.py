"""Proof that outputs are whole, and of what they were made of: a file for each kind."""
