"""Single-user servers in a sandbox: :class:`nablahub_spawner.spawner.SandboxedSpawner`.

Nothing is imported here: single-user servers import this package too, and start faster without.
"""
