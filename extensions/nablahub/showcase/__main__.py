"""``python -m nablahub.showcase FOLDER`` lays the files out for working on them by hand."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nablahub import showcase
from nablahub.core import console
from nablahub.core.environments import Environments
from nablahub.core.state import StateDir, default_state_dir


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@console.guarded
def main(folder: Path) -> None:
    """Write the showcase's data, workflow, notebook and sample into FOLDER.

    The data comes out of scikit-learn, in the environment `default`: built first when it is not
    there.
    """
    out = console.stderr()
    environments = Environments(StateDir(default_state_dir()).environments)
    built = environments.find("default")
    if built is None:
        out.print("Building the environment `default`: a minute, once.")
        built = environments.ensure("default")
    showcase.write_dataset(folder / "digits", built.prefix)
    (folder / "workflow.yaml").write_text(showcase.workflow_yaml(), encoding="utf-8")
    (folder / showcase.NOTEBOOK).write_bytes(showcase.notebook_bytes())
    (folder / "sample.json").write_text(json.dumps(showcase.sample()), encoding="utf-8")


if __name__ == "__main__":
    main()
