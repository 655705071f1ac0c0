"""Proof that outputs are complete, and of their inputs: a file for each kind of output."""
