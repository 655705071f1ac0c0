"""How well scores agree with what people said: statistics, baselines, ablations, figures."""
