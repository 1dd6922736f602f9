"""What the two engines need of Python: the Snakefile's helpers, DVC's ledger, the graph of the rules.

Not here: anything that a job runs.
"""
