"""Where the work of jobs runs: one contract, a package for each way to keep it."""
