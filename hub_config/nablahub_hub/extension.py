"""Adds the commands of a hub on one machine to the command line."""

from nablahub.core.extension import Extension

extension = Extension(
    name="local",
    commands={
        "up": "nablahub_hub.local.commands:up",
        "down": "nablahub_hub.local.commands:down",
        "status": "nablahub_hub.local.commands:status",
        "doctor": "nablahub_hub.local.commands:doctor",
        "demo": "nablahub_hub.demo.command:demo",
    },
    help={
        "up": "Bring the hub up and keep it up until Ctrl-C.",
        "down": "End every process of the hub.",
        "status": "Show what of the hub runs.",
        "doctor": "Look for what is missing on this machine.",
        "demo": "Bring the hub up and run the showcase.",
    },
)
