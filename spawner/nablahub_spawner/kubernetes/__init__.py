"""Single-user servers as pods: :class:`nablahub_spawner.kubernetes.spawner.NablaKubeSpawner`.

What a pod is follows from pure functions (``names``, ``objects``, ``capacity``, ``reasons``); the
spawner only carries it to the cluster and back. Nothing is imported here: images run code of this
package without the Kubernetes client.
"""
