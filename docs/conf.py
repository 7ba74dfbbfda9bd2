"""Configuration of Sphinx; `make docs` builds with warnings as errors."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

project = "NablaHub"
author = "the NablaHub developers"
copyright = "the NablaHub developers, BSD-3-Clause"
release = version = installed("nablahub")

extensions = ["myst_parser", "docs._ext.reference"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "NablaHub"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["nablahub.css"]
html_theme_options = {"top_of_page_buttons": []}
# Pages whose sections are derived change without their source: build them all, each time.
env_version = None
