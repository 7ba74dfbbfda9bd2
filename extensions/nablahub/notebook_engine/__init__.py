"""Runs one notebook from top to end inside a job, by papermill with an engine that tells each step.

It is started by the `runner` environment's Python and imports nothing else of this package, since
only this folder's siblings' files, not their requirements, are there. The kernel runs in the job's
own environment, which needs ipykernel and nothing of ours.
"""
