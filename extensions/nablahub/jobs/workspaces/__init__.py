"""Workspaces: a folder that goes with a job, as the folder in which its command starts."""
