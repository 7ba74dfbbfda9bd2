"""Workflows: a graph of jobs, run as often as wanted, each run recorded."""
