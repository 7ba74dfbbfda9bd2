"""The kubernetes runner: tasks as pods of Jobs.

A task's pod has two containers. In `main` a supervisor starts the command and says in the pod's
status how it ended; `commit` brings the log and the files to the service. Everything that is made
in the cluster is named after the task, so making it twice makes it once.
"""
