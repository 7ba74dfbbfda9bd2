"""Jobs: one command in one environment, with inputs, outputs, logs, artifacts and limits."""
