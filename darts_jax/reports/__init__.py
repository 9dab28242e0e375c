"""A page about runs: facts in, HTML out. What gathers the facts is `runs.report`."""
