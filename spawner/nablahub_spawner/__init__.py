"""Single-user servers in a sandbox: :class:`nablahub_spawner.spawner.SandboxedSpawner`.

Nothing is imported here: single-user servers import this package too, and start faster without.
"""

#: Where a server's instance type stands in the state that the hub keeps of it; the idle culler,
#: which loads nothing of JupyterHub's, looks for its limits there.
INSTANCE = "instance"
