"""The chart gives the service the rights that the runner says it needs."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

from nablahub.jobs.runners.kubernetes.rights import APART, RIGHTS, SELDON

ROLE = Path(__file__).parents[2] / "helm/nablahub/templates/service/role.yaml"


def test_the_role_and_the_runner_agree() -> None:
    section = re.search(r"^rules:\n.*?(?=^---$)", ROLE.read_text(), re.DOTALL | re.MULTILINE)
    assert section is not None
    given: dict[tuple[str, str], set[str]] = {}
    rules = re.sub(r"^ *\{\{.*\}\}\n", "", section[0], flags=re.MULTILINE)
    for rule in YAML(typ="safe").load(rules)["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                given.setdefault((group, resource), set()).update(rule["verbs"])
    assert given == {what: set(verbs) for what, verbs in (RIGHTS | APART | SELDON).items()}
