"""What brings a job from submitted to ended works with."""

from __future__ import annotations

from dataclasses import dataclass, field

from nablahub.core.context import Context
from nablahub.jobs.capacity import Capacity
from nablahub.jobs.changing import Changed
from nablahub.jobs.data import Committer
from nablahub.jobs.gathering import Gathering
from nablahub.jobs.grounds import Ground
from nablahub.jobs.layout import LocalLayout
from nablahub.jobs.mounting import JobMounts
from nablahub.jobs.pod_mounts import PodMounts
from nablahub.jobs.runners.contract import Runner
from nablahub.jobs.store import JobRow
from nablahub.jobs.tasks import Tasks


@dataclass
class Machinery:
    """What steps work with; used on the event loop, but for what says otherwise."""

    context: Context
    runner: Runner
    layout: LocalLayout
    committer: Committer
    capacity: Capacity
    ground: Ground
    changed: Changed
    tasks: Tasks
    gathering: Gathering
    mounts: JobMounts | PodMounts
    #: Rows as this life wrote them last; whoever else writes one drops it from here.
    recent: dict[str, JobRow] = field(default_factory=dict)
    #: Jobs that this life started and has not yet stored as running.
    started: set[str] = field(default_factory=set)
    #: How many servers of a server's job take requests.
    servers: dict[str, int] = field(default_factory=dict)
