"""The paper's evaluation, as its authors do it: sets, protocol, ablations, figures."""
