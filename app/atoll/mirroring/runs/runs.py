"""The runs of mirrors: claimed for planning, planned, and ended.

A run begins when a worker claims a due mirror (`claims`). Its plan is written in one transaction
(`plans`), after which workers claim its tasks (`tasks`). The worker that finds no task left ends
the run (`endings`).

No state needs the process that caused it. The lease of a planner expires, and the next claim plans
again; the end of a run is found by polling if the worker of its last task died.
"""

from __future__ import annotations

from atoll.auth.secrets import Cipher
from atoll.db.pool import Database
from atoll.mirroring.runs.claims import RunClaims
from atoll.mirroring.runs.endings import RunEndings
from atoll.mirroring.runs.plans import RunPlans
from atoll.mirroring.runs.run_settings import RunSettings
from atoll.mirroring.runs.tasks import LEASE_SECONDS, SwitchTags


class Runs:
    """The runs of all mirrors.

    Attributes:
        claims: Claims them.
        plans: Records their plans.
        endings: Ends them.
        settings: Reads the settings of their mirrors.
    """

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        switch: SwitchTags,
        *,
        site: str,
        instance: str,
        rollback: bool = False,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Provide the runs of all mirrors.

        Args:
            database: Where they are stored.
            cipher: Decrypts passwords.
            switch: Changes tags.
            site: The location of this process, for people.
            instance: The name of this process, for people.
            rollback: Whether the tags of mirrors without a choice change together or not at all.
            lease_seconds: How long the lease of a planner lasts unless it is extended.
        """
        self.settings = RunSettings(cipher, rollback=rollback)
        self.claims = RunClaims(database, site=site, instance=instance, lease_seconds=lease_seconds)
        self.endings = RunEndings(database, switch, self.settings)
        self.plans = RunPlans(database, self.settings, self.endings)
