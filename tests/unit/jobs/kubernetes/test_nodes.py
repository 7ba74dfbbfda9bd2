"""What the nodes of one task are told of each other."""

from __future__ import annotations

import base64
import json

from nablahub.jobs.runners.kubernetes.inside.nodes import hosts, variables


def test_each_node_has_a_name_and_knows_the_others() -> None:
    names = hosts("task-a", 2)
    assert names == ["task-a-0.task-a", "task-a-1.task-a"]
    found = variables(1, names)
    assert {name: found[name] for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "NODE_RANK")} == {
        "RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "task-a-0.task-a", "NODE_RANK": "1",
    }  # fmt: skip
    config = json.loads(found["TF_CONFIG"])
    assert config["cluster"]["worker"] == [f"{name}:{found['MASTER_PORT']}" for name in names]
    assert config["task"] == {"type": "worker", "index": 1}
    assert base64.b64decode(found["PS_CONFIG"]).decode() == found["TF_CONFIG"]
