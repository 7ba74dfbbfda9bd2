"""Jobs as sandboxed processes of this machine.

`runner` speaks the contract inside the service. It asks `launcher`, a small long-lived process,
to fork a `shim` for each task; the shim is the sandbox's parent and outlives both.
What the service must know later is in the task's folder (`folder`), never in anybody's memory.
"""
