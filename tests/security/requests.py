"""For each route, the request with which its owner succeeds: real ids, a body that is right."""

from __future__ import annotations

import hashlib
import io
from uuid import uuid4

import httpx

from nablahub.jobs.workspaces.packing import Folder
from nablahub.jobs.workspaces.packing import pack as pack_workspace
from tests.security.makers import Maker, Request, fresh, in_project, listed, of, patch, unique
from tests.security.world import SPEC, World, pack

API = "/api/v1"


def of_team(w: World) -> Request:
    """Ask for a project of the owner's team."""
    team = w.hub.transport.get("/whoami")["team_ids"][0]
    return Request("/projects", {"name": unique(), "team": team})


def put_pack(w: World) -> Request:
    """Send a pack into an upload."""
    name, content = pack(uuid4().bytes)
    return Request(f"/datasets/{w.dataset}/uploads/{w.new_upload()}/packs/{name}", content=content)


def _empty_workspace() -> tuple[str, bytes]:
    made = io.BytesIO()
    digest = pack_workspace(Folder(), made, lambda _done, _total: None)
    return digest, made.getvalue()


#: Digest and archive of a folder without files.
EMPTY = _empty_workspace()


def add_from_catalog(w: World) -> Request:
    """Make a dataset of a public one in the world's project."""
    query = {"name": unique(), "project": w.project}
    return Request("/dataset-catalog/iris", query=query)


def put_workspace(w: World) -> Request:
    """Upload a folder for jobs."""
    return Request(f"/projects/{w.project}/workspaces/{EMPTY[0]}", content=EMPTY[1])


def put_object(w: World) -> Request:
    """Send a large object into an upload."""
    data = uuid4().bytes
    path = f"/datasets/{w.dataset}/uploads/{w.new_upload()}/objects/{hashlib.md5(data).hexdigest()}"
    query = {"sha256": hashlib.sha256(data).hexdigest(), "size": str(len(data)), "offset": "0"}
    return Request(path, content=data, query=query)


def commit(w: World) -> Request:
    """Commit an upload of one file that the dataset has already."""
    md5, text = w.md5, b"of one user alone"
    line = f"{md5} {hashlib.sha256(text).hexdigest()} f {len(text)} again.txt\n"
    path = f"/datasets/{w.dataset}/uploads/{w.new_upload()}/commit"
    return Request(path, content=line.encode())


def objects_wanted(w: World) -> Request:
    """Ask for objects of a version by their hashes."""
    path = f"/datasets/{w.dataset}/versions/{w.version}/objects"
    return Request(path, {"md5": [w.md5]})


def dvc(w: World) -> Request:
    """Ask the DVC remote for an object."""
    return Request(f"//dvc/{w.dataset}/files/md5/{w.md5[:2]}/{w.md5[2:]}")


def dvc_push(w: World) -> Request:
    """Push an object to the DVC remote."""
    data = uuid4().bytes
    md5 = hashlib.md5(data).hexdigest()
    return Request(f"//dvc/{w.dataset}/files/md5/{md5[:2]}/{md5[2:]}", content=data)


def begin_transfer(w: World) -> Request:
    """Ask for signed URLs for a pack."""
    name, content = pack(uuid4().bytes)
    upload = w.new_upload(w.bucketed)
    asked = {"kind": "pack", "name": name, "size": len(content)}
    return Request(f"/datasets/{w.bucketed}/uploads/{upload}/transfers", asked)


def finish_transfer(w: World) -> Request:
    """Say that a pack was sent, which it was."""
    name, content = pack(uuid4().bytes)
    path = f"/datasets/{w.bucketed}/uploads/{w.new_upload(w.bucketed)}/transfers"
    asked = {"kind": "pack", "name": name, "size": len(content)}
    for part in w.hub.transport.request("POST", path, body=asked)["parts"]:
        httpx.put(part["url"], content=content, trust_env=False).raise_for_status()
    return Request(f"{path}/finish", asked)


def new_provider(w: World) -> Request:
    """Make a storage provider for the owner's team."""
    team = w.hub.transport.get("/whoami")["team_ids"][0]
    return Request("/storage-providers", {"name": unique(), "team": team, **w.bucket})


def usage_report(w: World) -> Request:
    """Tell what the storage of the owner's team holds."""
    team = w.hub.transport.get("/whoami")["team_ids"][0]
    return Request("/storage-usage", {"kind": "storage", "team": team, "bytes": 1, "files": 1})


def pack_wanted(w: World) -> Request:
    """Ask for a pack of a dataset."""
    path = f"/datasets/{w.dataset}/versions/{w.version}"
    tables = w.hub.transport.request("GET", f"{path}/tables")
    return Request(f"{path}/packs/{tables[:64].decode()}")


def drafted(tail: str, **query: str) -> Maker:
    """Return a maker for a draft into which a file ``f`` has been put."""

    def make(w: World) -> Request:
        path = f"/datasets/{w.dataset}/uploads/{w.new_upload()}"
        w.hub.transport.request("PUT", f"{path}/files/f", content=b"f")
        return Request(path + tail, content=b"", query=query)

    return make


def a_tag(w: World) -> str:
    """Make a tag."""
    name = unique()
    w.hub.datasets.tag(f"{w.dataset}:{w.version}", name)
    return name


def spare_version(w: World) -> str:
    """Make a version that nothing needs, and delete it."""
    made = w.hub.datasets.write(w.dataset, "spare", uuid4().bytes)
    w.hub.datasets.delete_version(made.id)
    return str(made.version)


def unneeded_version(w: World) -> str:
    """Make a version that nothing needs."""
    return str(w.hub.datasets.write(w.dataset, "spare", uuid4().bytes).version)


def put_changes(w: World) -> Request:
    """Put nothing new into a draft: a text without lines."""
    return Request(f"/datasets/{w.dataset}/uploads/{w.new_upload()}/changes", content=b"")


UPLOAD = "/datasets/{dataset}/uploads/{new}"
RUN = "/workflows/{workflow}/runs/{run}"
VERSION = "/datasets/{dataset}/versions/{version}"
MODEL = "/models/{model}/versions/{model_version}"

#: (method, path of the route table) → the owner's request.
OWNED: dict[tuple[str, str], Maker] = {
    ("POST", "/projects"): of_team,
    ("GET", "/projects/{project}"): of("/projects/{project}"),
    ("PATCH", "/projects/{project}"): patch("/projects/{project}", {"description": "new"}),
    ("DELETE", "/projects/{project}"): fresh("/projects/{new}", World.new_project),
    ("GET", "/datasets"): listed("/datasets"),
    ("POST", "/datasets"): in_project(
        "/datasets", lambda w: {"name": unique(), "project": w.project}
    ),
    ("GET", "/datasets/{dataset}"): of("/datasets/{dataset}"),
    ("PATCH", "/datasets/{dataset}"): patch("/datasets/{dataset}", {"description": "new"}),
    ("DELETE", "/datasets/{dataset}"): fresh("/datasets/{new}", World.new_dataset),
    ("GET", "/datasets/{dataset}/versions"): of("/datasets/{dataset}/versions"),
    ("GET", "/datasets/{dataset}/versions/{version}"): of(VERSION),
    ("GET", "/datasets/{dataset}/versions/{version}/files"): of(VERSION + "/files"),
    ("GET", "/datasets/{dataset}/versions/{version}/dvc"): of(VERSION + "/dvc"),
    ("GET", "/datasets/{dataset}/versions/{version}/manifest"): of(VERSION + "/manifest"),
    ("POST", "/datasets/{dataset}/versions/{version}/objects"): objects_wanted,
    ("GET", "/datasets/{dataset}/versions/{version}/tables"): of(VERSION + "/tables"),
    ("GET", "/datasets/{dataset}/versions/{version}/packs/{pack}"): pack_wanted,
    ("GET", "/datasets/{dataset}/versions/{version}/tree"): of(VERSION + "/tree"),
    ("GET", "/datasets/{dataset}/versions/{version}/diff"): of(VERSION + "/diff"),
    ("GET", "/datasets/{dataset}/versions/{version}/lineage"): of(VERSION + "/lineage"),
    ("DELETE", "/datasets/{dataset}/versions/{version}"): fresh(
        "/datasets/{dataset}/versions/{new}", unneeded_version
    ),
    ("POST", "/datasets/{dataset}/versions/{version}/restore"): fresh(
        "/datasets/{dataset}/versions/{new}/restore", spare_version
    ),
    ("GET", "/datasets/{dataset}/garbage"): of("/datasets/{dataset}/garbage"),
    ("POST", "/datasets/{dataset}/garbage"): of("/datasets/{dataset}/garbage", {"undo": True}),
    ("GET", "/datasets/{dataset}/tags"): of("/datasets/{dataset}/tags"),
    ("PUT", "/datasets/{dataset}/tags/{tag}"): lambda w: Request(
        f"/datasets/{w.dataset}/tags/walked", {"version": w.version}
    ),
    ("DELETE", "/datasets/{dataset}/tags/{tag}"): fresh("/datasets/{dataset}/tags/{new}", a_tag),
    ("PUT", "/datasets/{dataset}/files/{path}"): lambda w: Request(
        f"/datasets/{w.new_dataset()}/files/g", content=b"g"
    ),
    ("PUT", "/datasets/{dataset}/uploads/{upload}/files/{path}"): drafted("/files/g"),
    ("DELETE", "/datasets/{dataset}/uploads/{upload}/files/{path}"): drafted("/files/f"),
    ("POST", "/datasets/{dataset}/uploads/{upload}/rename"): drafted(
        "/rename", **{"from": "f", "to": "g"}
    ),
    ("GET", "/datasets/{dataset}/uploads/{upload}/changes"): drafted("/changes"),
    ("POST", "/datasets/{dataset}/uploads/{upload}/changes"): put_changes,
    ("POST", "/datasets/{dataset}/uploads/{upload}/commit-changes"): drafted("/commit-changes"),
    ("POST", "/datasets/{dataset}/versions/{version}/locations"): of(
        VERSION + "/locations", {"md5": ["0" * 32]}
    ),
    ("POST", "/datasets/{dataset}/versions/{version}/verify"): of(VERSION + "/verify"),
    ("POST", "/datasets/{dataset}/uploads/{upload}/transfers"): begin_transfer,
    ("POST", "/datasets/{dataset}/uploads/{upload}/transfers/finish"): finish_transfer,
    ("POST", "/storage-providers"): new_provider,
    ("PUT", "/storage-usage"): usage_report,
    ("GET", "/storage-providers/{provider}"): of("/storage-providers/{provider}"),
    ("PATCH", "/storage-providers/{provider}"): patch(
        "/storage-providers/{provider}", {"region": "eu-1"}
    ),
    ("DELETE", "/storage-providers/{provider}"): fresh(
        "/storage-providers/{new}", World.new_provider
    ),
    ("POST", "/storage-providers/{provider}/check"): of("/storage-providers/{provider}/check"),
    ("GET", "/datasets/{dataset}/versions/{version}/files/{path}"): of(VERSION + "/files/a.txt"),
    ("HEAD", "/datasets/{dataset}/versions/{version}/files/{path}"): of(VERSION + "/files/a.txt"),
    ("POST", "/datasets/{dataset}/uploads"): of("/datasets/{dataset}/uploads", {"message": "m"}),
    ("GET", "/datasets/{dataset}/uploads/{upload}"): fresh(UPLOAD, World.new_upload),
    ("DELETE", "/datasets/{dataset}/uploads/{upload}"): fresh(UPLOAD, World.new_upload),
    ("POST", "/datasets/{dataset}/uploads/{upload}/missing"): fresh(
        UPLOAD + "/missing", World.new_upload, {"objects": []}
    ),
    ("PUT", "/datasets/{dataset}/uploads/{upload}/packs/{pack}"): put_pack,
    ("HEAD", "/datasets/{dataset}/uploads/{upload}/objects/{md5}"): fresh(
        UPLOAD + "/objects/" + "0" * 32, World.new_upload
    ),
    ("PUT", "/datasets/{dataset}/uploads/{upload}/objects/{md5}"): put_object,
    ("POST", "/datasets/{dataset}/uploads/{upload}/commit"): commit,
    ("GET", "//dvc/{dataset}/files/md5/{object}"): dvc,
    ("HEAD", "//dvc/{dataset}/files/md5/{object}"): dvc,
    ("PUT", "//dvc/{dataset}/files/md5/{object}"): dvc_push,
    ("GET", "/models"): listed("/models"),
    ("POST", "/models"): in_project("/models", lambda w: {"name": unique(), "project": w.project}),
    ("GET", "/models/{model}"): of("/models/{model}"),
    ("PATCH", "/models/{model}"): patch("/models/{model}", {"description": "new"}),
    ("DELETE", "/models/{model}"): fresh("/models/{new}", World.new_model),
    ("GET", "/models/{model}/versions"): of("/models/{model}/versions"),
    ("POST", "/models/{model}/versions"): lambda w: Request(
        f"/models/{w.model}/versions",
        {"dataset_version": f"{w.dataset}:{w.version}", "format": "Custom"},
    ),
    ("GET", "/models/{model}/versions/{version}"): of(MODEL),
    ("GET", "/models/{model}/versions/{version}/files"): of(MODEL + "/files"),
    ("GET", "/models/{model}/versions/{version}/files/{path}"): of(MODEL + "/files/a.txt"),
    ("HEAD", "/models/{model}/versions/{version}/files/{path}"): of(MODEL + "/files/a.txt"),
    ("GET", "/jobs"): listed("/jobs"),
    ("POST", "/jobs"): in_project(
        "/jobs",
        lambda w: {
            "project": w.project, "command": ["true"], "environment": "bash:5",
            "instance_type": "C3",
        },
    ),
    ("GET", "/projects/{project}/workspaces/{digest}"): of(
        f"/projects/{{project}}/workspaces/{EMPTY[0]}"
    ),
    ("PUT", "/projects/{project}/workspaces/{digest}"): put_workspace,
    ("POST", "/dataset-catalog/{name}"): add_from_catalog,
    ("GET", "/jobs/{job}"): of("/jobs/{job}"),
    ("DELETE", "/jobs/{job}"): fresh("/jobs/{new}", World.new_job),
    ("POST", "/jobs/{job}/cancel"): of("/jobs/{job}/cancel"),
    ("GET", "/jobs/{job}/logs"): of("/jobs/{job}/logs"),
    ("GET", "/jobs/{job}/artifacts"): of("/jobs/{job}/artifacts"),
    ("GET", "/jobs/{job}/archive"): of("/jobs/{job}/archive"),
    ("GET", "/jobs/{job}/artifacts/{path}"): of("/jobs/{job}/artifacts/kept.txt"),
    ("GET", "/workflows"): listed("/workflows"),
    ("POST", "/workflows"): in_project(
        "/workflows", lambda w: {"project": w.project, "name": unique(), "spec": SPEC}
    ),
    ("GET", "/workflows/{workflow}"): of("/workflows/{workflow}"),
    ("PATCH", "/workflows/{workflow}"): patch("/workflows/{workflow}", {"spec": SPEC}),
    ("DELETE", "/workflows/{workflow}"): fresh("/workflows/{new}", World.new_workflow),
    ("GET", "/workflows/{workflow}/files/{name}"): of("/workflows/{workflow}/files/notes.txt"),
    ("GET", "/workflows/{workflow}/runs"): of("/workflows/{workflow}/runs"),
    ("POST", "/workflows/{workflow}/runs"): of("/workflows/{workflow}/runs", {"inputs": {}}),
    ("GET", "/workflows/{workflow}/runs/{run}"): of(RUN),
    ("POST", "/workflows/{workflow}/runs/{run}/cancel"): of(RUN + "/cancel"),
    ("GET", "/workflows/{workflow}/runs/{run}/changes"): of(RUN + "/changes"),
    ("GET", "/runs"): listed("/runs"),
    ("GET", "/deployments"): listed("/deployments"),
    ("POST", "/deployments"): in_project(
        "/deployments", lambda w: {"project_id": w.project, "spec": w.deployment_spec()}
    ),
    ("GET", "/deployments/{deployment}"): of("/deployments/{deployment}"),
    ("PATCH", "/deployments/{deployment}"): patch(
        "/deployments/{deployment}", {"instance_type": "C3"}
    ),
    ("DELETE", "/deployments/{deployment}"): fresh("/deployments/{new}", World.new_deployment),
    ("GET", "/deployments/{deployment}/specs"): of("/deployments/{deployment}/specs"),
    ("GET", "/deployments/{deployment}/keys"): of("/deployments/{deployment}/keys"),
    ("POST", "/deployments/{deployment}/keys"): of(
        "/deployments/{deployment}/keys", {"name": "third"}
    ),
    ("DELETE", "/deployments/{deployment}/keys/{key}"): fresh(
        "/deployments/{deployment}/keys/{new}", World.new_key
    ),
    ("GET", "/events"): listed("/events"),
    ("POST", "/mounts"): lambda w: Request("/mounts", {"dataset": w.dataset, "server": "walked"}),
    ("GET", "/mounts/{mount}"): fresh("/mounts/{new}", World.new_mount),
    ("DELETE", "/mounts/{mount}"): fresh("/mounts/{new}", World.new_mount),
    ("POST", "/mounts/{mount}/send"): fresh("/mounts/{new}/send", World.new_bucket_mount),
}  # fmt: skip

#: Routes that name nobody's thing; what another user gets there must not tell of the owner's.
#: For a Traefik on another machine: nobody else is told that it exists.
PROXYS: dict[tuple[str, str], Maker] = {
    ("GET", "/deployment-routes"): of("/deployment-routes"),
}

BUCKETS = "/jobs/{job}/task/buckets"
BUCKET = f"{BUCKETS}/{{mount}}"

#: What only the pod of a job may use, with the job's own token: for people it does not exist.
PODS: dict[tuple[str, str], Maker] = {
    ("PUT", "/jobs/{job}/task/log"): of("/jobs/{job}/task/log", offset="0"),
    ("PUT", "/jobs/{job}/task/files/{part}"): of("/jobs/{job}/task/files/artifacts"),
    ("GET", "/jobs/{job}/task/keys"): of("/jobs/{job}/task/keys"),
    ("GET", BUCKET): of(f"{BUCKETS}/inputs.raw"),
    ("POST", f"{BUCKET}/links"): of(f"{BUCKETS}/inputs.raw/links", {"paths": ["a"]}),
    ("GET", f"{BUCKET}/content"): of(
        f"{BUCKETS}/inputs.raw/content", path="a", start="0", length="1", etag="x"
    ),
    ("PUT", f"{BUCKET}/content"): of(f"{BUCKETS}/inputs.raw/content", path="a", size="0", etag="x"),
    ("DELETE", f"{BUCKET}/content"): of(f"{BUCKETS}/inputs.raw/content", path="a", known="x"),
    ("PUT", BUCKETS): of(BUCKETS, {"stage": "over"}),
    ("POST", "/cache/users"): of("/cache/users", {"places": []}),
    ("GET", "/jobs/{job}/task/workspace"): of("/jobs/{job}/task/workspace"),
}

#: For administrators of the hub alone.
ADMINS: dict[tuple[str, str], Maker] = {
    ("POST", "/storage-providers/rotate-keys"): of("/storage-providers/rotate-keys"),
    ("GET", "/cache"): of("/cache"),
    ("POST", "/cache/prune"): of("/cache/prune", dry_run="true"),
    ("POST", "/cache/verify"): of("/cache/verify"),
}

NOBODYS: dict[tuple[str, str], Maker] = {
    ("GET", "/whoami"): of("/whoami"),
    ("GET", "/teams"): of("/teams"),
    ("GET", "/projects"): of("/projects"),
    ("GET", "/storage-providers"): of("/storage-providers"),
    ("GET", "/dataset-catalog"): of("/dataset-catalog"),
    ("GET", "/dataset-catalog/{name}"): of("/dataset-catalog/iris"),
    ("GET", "/storage-usage"): of("/storage-usage"),
    ("GET", "/instance-types"): of("/instance-types"),
    ("GET", "/environments"): of("/environments"),
    ("GET", "/mounts"): of("/mounts"),
    ("POST", "/workflow-validations"): of("/workflow-validations", {"spec": SPEC}),
}
