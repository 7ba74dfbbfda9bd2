"""Makes a JupyterHub a NablaHub: ``import nablahub_hub; nablahub_hub.install(c)``."""

from nablahub_hub.install import install
from nablahub_hub.settings import NablaHub

__all__ = ["NablaHub", "install"]
