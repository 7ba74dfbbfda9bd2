"""What the chart makes: valid objects that hold no more rights than they need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from nablahub.core.engines import parse
from nablahub.core.settings import Settings
from nablahub.jobs.runners.kubernetes.names import labels
from nablahub_hub import NablaHub
from nablahub_spawner.kubernetes.spawner import NablaKubeSpawner
from tests.helm.charts import CHART, KUBERNETES, ROOT, helm, load, one, ours, pods, template
from tests.helm.charts import write as write_values

PRODUCTION = CHART / "values-production.yaml"
#: Everything that is off by default, on; everything that may be named, named.
ODD: dict[str, Any] = {
    "publicUrl": "https://hub.example.org:8443",
    "secret": {"create": False},
    "service": {
        "replicas": 3,
        "database": {
            "url": "postgresql://n@db.example.org:6432/n?sslmode=require",
            "existingSecret": "database", "passwordKey": "word",
        },
        "objectStore": {
            "url": "s3://nablahub/data", "endpoint": "http://seaweedfs.storage:8333",
            "publicEndpoint": "https://s3.example.org:9443", "region": "eu-1", "pathStyle": False,
            "existingSecret": "s3", "accessKeyKey": "id", "secretKeyKey": "key",
        },
        "settings": {
            "introspection_seconds": 0.5, "max_upload_bytes": 2**45,
            "allow_private_addresses": True,
        },
        "storage": {"existingClaim": "mine", "keep": False},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "podAnnotations": {"a": "true"},
        "podDisruptionBudget": {"enabled": True},
    },
    "jobs": {
        "namespace": "jobs",
        "image": {"tag": "7"},
        "images": {"torch": "registry.example.org/torch:2"},
        "storage": {"storageClassName": "shared", "accessMode": "ReadWriteMany"},
    },
    "traefik": {
        "image": {"tag": "3"},
        "replicas": 3,
        "trustedIPs": ["10.0.0.0/8", "192.168.0.0/16"],
        "service": {
            "type": "LoadBalancer", "port": 8080, "nodePort": 30080,
            "annotations": {"cloud": "internal"}, "loadBalancerSourceRanges": ["192.0.2.0/24"],
        },
        "nodeSelector": {"edge": "yes"},
        "tolerations": [{"operator": "Exists"}],
        "podAnnotations": {"b": "1"},
    },
    "ingress": {
        "enabled": True, "className": "nginx", "annotations": {"a": "b"}, "tlsSecretName": "tls",
    },
    "imagePullSecrets": ["registry"],
    "networkPolicy": {
        "publicFrom": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        "serviceEgress": [{"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}],
        "objectStoreTo": [{"podSelector": {"matchLabels": {"app": "seaweedfs"}}}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def odd(chart: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    file = write_values(tmp_path_factory.mktemp("values") / "odd.yaml", ODD)
    return template(chart, file)


@pytest.fixture(scope="module")
def plain(chart: Path) -> list[dict[str, Any]]:
    return template(chart)


@pytest.fixture(scope="module")
def production(chart: Path) -> list[dict[str, Any]]:
    return template(chart, PRODUCTION)


@pytest.fixture(params=["plain", "production", "odd"])
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = request.getfixturevalue(request.param)
    return found


def test_lint_finds_nothing(chart: Path) -> None:
    for values in ((), ("--values", PRODUCTION)):
        said = helm("lint", "--strict", f"--kube-version={KUBERNETES}.0", chart, *values)
        assert "0 chart(s) failed" in said


def test_every_object_is_valid(objects: list[dict[str, Any]]) -> None:
    known = [o for o in objects if o["kind"] != "ServiceMonitor"]
    assert len(known) > 10
    for item in known:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_no_pod_is_root_or_holds_a_token_it_does_not_need(objects: list[dict[str, Any]]) -> None:
    found = pods(ours(objects))
    assert set(found) - {"nablahub-migrations"} == {
        "nablahub-service", "nablahub-traefik", "nablahub-test"
    }  # fmt: skip
    for name, pod in found.items():
        # The service alone speaks to the cluster: it starts jobs.
        assert pod["automountServiceAccountToken"] is (name == "nablahub-service"), name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name


def test_only_the_service_has_rights_and_those_it_needs(objects: list[dict[str, Any]]) -> None:
    roles = {o["metadata"]["name"]: o for o in ours(objects) if o["kind"].endswith("Role")}
    assert {role["kind"] for role in roles.values()} == {"Role"}
    assert set(roles) == {"nablahub-service", "nablahub-routes", "nablahub-hub"}
    apart = any(o["kind"] == "NetworkPolicy" for o in ours(objects))

    def rights(name: str) -> dict[str, set[str]]:
        rules = roles[name]["rules"]
        return {
            resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]
        }  # fmt: skip

    # Beside what zero-to-jupyterhub gives its hub.
    assert rights("nablahub-hub") == {"secrets": {"patch"}, "resourcequotas": {"list"}}
    (subject,) = one(objects, "RoleBinding", "nablahub-hub")["subjects"]
    assert subject["name"] == "hub"
    assert rights("nablahub-service") == {
        **({"networkpolicies": {"create"}} if apart else {}),
        "jobs": {"get", "list", "watch", "create", "delete"},
        "pods": {"list", "watch", "patch", "delete"},
        "events": {"list", "watch"},
        "secrets": {"list", "create", "delete"},
        "persistentvolumeclaims": {"get", "list", "create", "delete"},
        "deployments": {"get", "list", "watch", "create", "patch", "delete"},
        "services": {"get", "list", "create", "delete"},
        "horizontalpodautoscalers": {"list", "create", "patch", "delete"},
        "poddisruptionbudgets": {"list", "create", "delete"},
        "seldondeployments": {"get", "list", "watch", "create", "patch", "delete"},
    }
    assert roles["nablahub-routes"]["rules"] == [
        {
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["nablahub-routes"],
            "verbs": ["patch"],
        }
    ]  # fmt: skip
    account = one(objects, "ServiceAccount", "nablahub-service")
    assert account["automountServiceAccountToken"] is False


def test_the_role_holds_where_jobs_run(
    plain: list[dict[str, Any]], odd: list[dict[str, Any]]
) -> None:
    for objects, where in ((plain, "here"), (odd, "jobs")):
        settings = json.loads(
            one(objects, "ConfigMap", "nablahub-service")["data"]["settings.json"]
        )
        assert settings["kubernetes"]["namespace"] == where
        for kind in ("Role", "RoleBinding"):
            assert one(objects, kind, "nablahub-service")["metadata"]["namespace"] == where
        (subject,) = one(objects, "RoleBinding", "nablahub-service")["subjects"]
        assert subject["namespace"] == "here"


def test_policies_find_the_pods_of_jobs(objects: list[dict[str, Any]]) -> None:
    text = one(objects, "ConfigMap", "nablahub-service")["data"]["settings.json"]
    hub = Settings.model_validate_json(text).kubernetes.hub
    (policy,) = (
        o for o in ours(objects)
        if o["kind"] == "NetworkPolicy" and o["metadata"]["name"].startswith("nablahub-jobs-")
    )  # fmt: skip
    assert policy["spec"]["podSelector"]["matchLabels"] == labels(hub)


def test_with_sqlite_the_service_is_never_there_twice(plain: list[dict[str, Any]]) -> None:
    spec = one(plain, "Deployment", "nablahub-service")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    settings = settings_of(plain)
    assert (settings.database_url, settings.migrate_at_start) == ("", True)


def settings_of(objects: list[dict[str, Any]], name: str = "nablahub-service") -> Settings:
    """Return what the service reads."""
    text = one(objects, "ConfigMap", name)["data"]["settings.json"]
    return Settings.model_validate_json(text)


def test_with_postgresql_a_job_migrates_before_the_pods_come(odd: list[dict[str, Any]]) -> None:
    settings = settings_of(odd)
    assert settings == settings_of(odd, "nablahub-migrations")
    assert parse(settings.database_url).host == "db.example.org"
    assert settings.migrate_at_start is False
    job = one(odd, "Job", "nablahub-migrations")
    hooks = job["metadata"]["annotations"]
    assert hooks["helm.sh/hook"] == "pre-install,pre-upgrade"
    early = one(odd, "ConfigMap", "nablahub-migrations")["metadata"]["annotations"]
    assert int(early["helm.sh/hook-weight"]) < int(hooks.get("helm.sh/hook-weight", "0"))
    assert "--migrate" in pods([job])["nablahub-migrations"]["containers"][0]["command"]


def test_the_password_is_read_from_your_secret_alone(odd: list[dict[str, Any]]) -> None:
    settings = settings_of(odd)
    for name in ("nablahub-service", "nablahub-migrations"):
        pod = pods(odd)[name]
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        sources = next(v for v in pod["volumes"] if v["name"] == "settings")["projected"]["sources"]
        found = {
            f"{mounts['settings']}/{item['path']}": (s["secret"]["name"], item["key"])
            for s in sources if "secret" in s for item in s["secret"]["items"]
        }  # fmt: skip
        assert found[str(settings.database_password_file)] == ("database", "word")


def test_several_pods_are_spread_and_one_of_them_stays(odd: list[dict[str, Any]]) -> None:
    spec = one(odd, "Deployment", "nablahub-service")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (3, "RollingUpdate")
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    budget = one(odd, "PodDisruptionBudget", "nablahub-service")["spec"]
    for selector in (spread["labelSelector"], budget["selector"], spec["selector"]):
        assert selector["matchLabels"] == spec["selector"]["matchLabels"]
    assert budget["minAvailable"] == 1


def test_the_service_reaches_its_database_and_its_other_pods(
    plain: list[dict[str, Any]], odd: list[dict[str, Any]]
) -> None:
    mine = one(odd, "Deployment", "nablahub-service")["spec"]["selector"]["matchLabels"]
    policy = one(odd, "NetworkPolicy", "nablahub-service")["spec"]
    peer = {"podSelector": {"matchLabels": mine}}
    assert peer in policy["ingress"][0]["from"]
    assert {"to": [peer], "ports": [{"port": 8000}]} in policy["egress"]
    assert {"ports": [{"port": 6432}]} in policy["egress"]
    without = one(plain, "NetworkPolicy", "nablahub-service")["spec"]
    assert [rule for rule in without["egress"] if rule.get("ports") == [{"port": 6432}]] == []


def test_prometheus_finds_the_metrics(odd: list[dict[str, Any]]) -> None:
    for name, port in (("nablahub-service", "metrics"), ("nablahub-traefik", "internal")):
        monitor = one(odd, "ServiceMonitor", name)
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        service = one(odd, "Service", f"{name}-metrics")
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= service["metadata"]["labels"].items()
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] == service["spec"]["ports"][0]["name"] == port
        pod = one(odd, "Deployment", name)["spec"]["template"]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
        assert ports[service["spec"]["ports"][0]["targetPort"]] == 9000
        policy = one(odd, "NetworkPolicy", name)["spec"]
        assert {"ports": [{"port": port}], "from": [{"namespaceSelector": {}}]} in policy["ingress"]
    assert settings_of(odd).metrics_port == 9000


def test_the_service_can_read_its_settings(objects: list[dict[str, Any]]) -> None:
    text = one(objects, "ConfigMap", "nablahub-service")["data"]["settings.json"]
    settings = Settings.model_validate_json(text)
    port = one(objects, "Service", "nablahub-service")["spec"]["ports"][0]["port"]
    assert settings.own_url == f"http://nablahub-service:{port}"
    entry = one(objects, "Service", "nablahub-traefik")["spec"]["ports"][0]["port"]
    assert settings.local_url == f"http://nablahub-traefik:{entry}"
    pod = pods(objects)["nablahub-service"]
    mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    assert settings.state_dir.is_relative_to(mounts["state"])
    tokens = str(settings.proxy_token_file)
    sources = next(v for v in pod["volumes"] if v["name"] == "settings")["projected"]["sources"]
    paths = [i["path"] for s in sources for i in s.get("secret", {}).get("items", [])]
    assert tokens in [f"{mounts['settings']}/{path}" for path in paths]


def test_numbers_of_settings_stay_whole(odd: list[dict[str, Any]]) -> None:
    settings = json.loads(one(odd, "ConfigMap", "nablahub-service")["data"]["settings.json"])
    assert settings["max_upload_bytes"] == 2**45
    assert settings["introspection_seconds"] == 0.5


def test_nodes_are_listed_by_who_may(chart: Path) -> None:
    assert "ClusterRole" not in {each["kind"] for each in template(chart)}
    made = template(chart, options=["--set", "listNodes=true"])
    role, binding = (
        one(made, kind, "nablahub-nodes-here") for kind in ("ClusterRole", "ClusterRoleBinding")
    )
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {each["name"] for each in binding["subjects"]} == {"nablahub-service", "hub"}


def test_an_autoscaled_cluster_is_told_to_the_service(chart: Path) -> None:
    assert not settings_of(template(chart)).kubernetes.autoscaled
    told = template(chart, options=["--set", "jobs.autoscaled=true"])
    assert settings_of(told).kubernetes.autoscaled


def test_settings_of_the_hub_exist() -> None:
    code = load(CHART / "values.yaml")["jupyterhub"]["hub"]["extraConfig"]["50-nablahub"]
    set_there = [line.split("=")[0].strip() for line in code.splitlines() if " = " in line]
    assert set_there
    known = {"NablaHub": NablaHub, "NablaKubeSpawner": NablaKubeSpawner}
    for name in set_there:
        section, option = name.removeprefix("c.").split(".")
        assert option in known[section].class_trait_names(config=True)
    compile(code, "50-nablahub", "exec")


def test_selectors_find_the_pods(objects: list[dict[str, Any]]) -> None:
    made = [
        o["spec"]["template"]["metadata"]["labels"] for o in objects if o["kind"] == "Deployment"
    ]
    wanted = [o["spec"]["selector"] for o in ours(objects) if o["kind"] == "Service"]
    for item in ours(objects):
        if item["kind"] == "PodDisruptionBudget":
            wanted.append(item["spec"]["selector"]["matchLabels"])
        elif item["metadata"]["name"] == "nablahub-servers":
            continue  # The hub makes their pods.
        elif item["kind"] == "NetworkPolicy" and "namespace" not in item["metadata"]:
            wanted.append(item["spec"]["podSelector"]["matchLabels"])
    assert len(wanted) >= 4
    for selector in wanted:
        assert [found for found in made if selector.items() <= found.items()], selector


def test_what_is_off_by_default_is_made_when_asked_for(
    plain: list[dict[str, Any]], odd: list[dict[str, Any]]
) -> None:
    def names(objects: list[dict[str, Any]]) -> set[tuple[str, str]]:
        return {(o["kind"], o["metadata"]["name"]) for o in ours(objects)}

    assert names(odd) - names(plain) == {
        ("Ingress", "nablahub"),
        ("PodDisruptionBudget", "nablahub-service"),
        ("PodDisruptionBudget", "nablahub-traefik"),
        ("ConfigMap", "nablahub-migrations"),
        ("Job", "nablahub-migrations"),
        ("NetworkPolicy", "nablahub-servers"),
        ("Service", "nablahub-service-metrics"),
        ("Service", "nablahub-traefik-metrics"),
        ("ServiceMonitor", "nablahub-service"),
        ("ServiceMonitor", "nablahub-traefik"),
    }
    assert names(plain) - names(odd) == {
        ("PersistentVolumeClaim", "nablahub-state"), ("Secret", "nablahub"),
    }  # fmt: skip
    assert one(odd, "Ingress", "nablahub")["spec"]["rules"][0]["host"] == "hub.example.org"
    claim = one(plain, "PersistentVolumeClaim", "nablahub-state")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_tokens_outlive_the_release(plain: list[dict[str, Any]]) -> None:
    made = one(plain, "Secret", "nablahub")
    assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_values_to_try_it_with_are_taken(chart: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "howto" / "kubernetes.md").read_text()
    text = page.partition("```yaml\n# try.yaml\n")[2].partition("```")[0]
    (tmp_path / "try.yaml").write_text(text)
    made = template(chart, tmp_path / "try.yaml")
    port = one(made, "Service", "nablahub-traefik")["spec"]["ports"][0]["port"]
    assert settings_of(made).public_url == "http://localhost:8000"
    assert f"port-forward service/nablahub-traefik 8000:{port}\n" in page


def test_only_traefik_is_public(production: list[dict[str, Any]]) -> None:
    types = {
        o["metadata"]["name"]: o["spec"].get("type", "ClusterIP")
        for o in production if o["kind"] == "Service"
    }  # fmt: skip
    assert {name for name, kind in types.items() if kind != "ClusterIP"} <= {"nablahub-traefik"}
    backend = one(production, "Ingress", "nablahub")["spec"]["rules"][0]["http"]["paths"][0]
    assert backend["backend"]["service"]["name"] == "nablahub-traefik"
