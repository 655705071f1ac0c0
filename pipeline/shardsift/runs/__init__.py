"""Runs on Ray: a score run, a reshard run; here engine and library meet."""
