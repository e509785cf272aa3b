"""The one place where ports meet their implementations.

Everything is made when it is first asked for, because a cold start pays for
every import: an event that is ignored makes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from weightdrop import logs, telemetry
from weightdrop import settings as settings_module
from weightdrop.clock import SystemClock
from weightdrop.errors import UsageError
from weightdrop.settings import Backend, Settings, Weights, home_folder

if TYPE_CHECKING:
    from weightdrop.credentials import Credentials
    from weightdrop.ports import (
        Artifacts,
        Bus,
        Clock,
        DeadLetters,
        Follower,
        Platform,
        Records,
    )
    from weightdrop.services.admit import Admission
    from weightdrop.services.commands import Commands
    from weightdrop.services.query import Query
    from weightdrop.services.reconcile import Reconciler
    from weightdrop.services.tick import Tick
    from weightdrop.uploads import Uploads


class App:
    """Settings, ports and services, wired; every attribute is made once."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or settings_module.load()
        self.clock: Clock = SystemClock()
        self._swept: datetime | None = None

    def observe(self) -> None:
        """Have this process's logs and traces go where the settings say."""
        chosen = self.settings
        if chosen.backend is Backend.CLOUD:
            logs.configure(context=lambda: telemetry.log_facts(chosen.project))
        telemetry.use(self._sink if chosen.telemetry else None)

    def _sink(self) -> telemetry.Sink:
        from weightdrop.adapters import otel  # noqa: PLC0415

        return otel.sink(self.settings.telemetry, project=self.settings.project)

    @cached_property
    def artifacts(self) -> Artifacts:
        """The buckets."""
        from weightdrop.adapters.gcs import GcsArtifacts  # noqa: PLC0415

        return GcsArtifacts(
            project=self.settings.project, endpoint=self.settings.storage_endpoint
        )

    @cached_property
    def uploads(self) -> Uploads:
        """The buckets, for who drops."""
        from weightdrop.adapters.gcs_upload import GcsUploads  # noqa: PLC0415

        return GcsUploads(self.settings)

    @cached_property
    def credentials(self) -> Credentials:
        """Who a command is in the cloud."""
        from weightdrop.adapters.credentials import (  # noqa: PLC0415
            GoogleCredentials,
        )

        return GoogleCredentials()

    @cached_property
    def records(self) -> Records:
        """The records."""
        if self.settings.backend is Backend.LOCAL:
            from weightdrop.local.records import SqliteRecords  # noqa: PLC0415

            return SqliteRecords(home_folder(self.settings) / "records.db")
        from weightdrop.adapters.firestore import FirestoreRecords  # noqa: PLC0415

        return FirestoreRecords(
            project=self.settings.project,
            endpoint=self.settings.firestore_endpoint,
            database=self.settings.database,
        )

    @cached_property
    def bus(self) -> Bus:
        """The topics."""
        if self.settings.backend is Backend.LOCAL:
            from weightdrop.local.queue import SqliteBus  # noqa: PLC0415

            return SqliteBus(home_folder(self.settings) / "queue.db")
        from weightdrop.adapters.pubsub import PubsubBus  # noqa: PLC0415

        return PubsubBus(
            project=self.settings.project, endpoint=self.settings.pubsub_endpoint
        )

    @cached_property
    def follower(self) -> Follower:
        """A look at the topics."""
        if self.settings.backend is Backend.LOCAL:
            from weightdrop.local.follower import SqliteFollower  # noqa: PLC0415

            return SqliteFollower(home_folder(self.settings) / "queue.db")
        from weightdrop.adapters.pubsub import PubsubFollower  # noqa: PLC0415

        return PubsubFollower(
            project=self.settings.project, endpoint=self.settings.pubsub_endpoint
        )

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """What could not be handled."""
        if self.settings.backend is Backend.LOCAL:
            from weightdrop.local.letters import SqliteDeadLetters  # noqa: PLC0415

            return SqliteDeadLetters(home_folder(self.settings) / "queue.db")
        from weightdrop.adapters.pubsub_letters import (  # noqa: PLC0415
            PubsubDeadLetters,
        )

        return PubsubDeadLetters(
            project=self.settings.project, endpoint=self.settings.pubsub_endpoint
        )

    @cached_property
    def platform(self) -> Platform:
        """Vertex AI."""
        from weightdrop.adapters.vertex import (  # noqa: PLC0415
            Safeguards,
            VertexPlatform,
        )

        chosen = self.settings
        google = not chosen.vertex_endpoint
        if google and chosen.weights is Weights.DIRECT and not chosen.serving_account:
            raise UsageError(
                "WEIGHTDROP_WEIGHTS=direct needs WEIGHTDROP_SERVING_ACCOUNT: the "
                "account that Vertex AI provides may not read the bucket."
            )
        return VertexPlatform(
            project=chosen.project,
            endpoint=chosen.vertex_endpoint,
            deploy_seconds=chosen.deploy_seconds,
            safeguards=Safeguards(
                service_account=chosen.serving_account,
                kms_key=chosen.kms_key,
                private_projects=chosen.private_projects,
                private_network=chosen.private_network,
            ),
        )

    @cached_property
    def admission(self) -> Admission:
        """For folders."""
        from weightdrop.services.admit import Admission  # noqa: PLC0415

        return Admission(
            artifacts=self.artifacts,
            records=self.records,
            bus=self.bus,
            clock=self.clock,
            settings=self.settings,
        )

    @cached_property
    def reconciler(self) -> Reconciler:
        """For deployments."""
        from weightdrop.services.reconcile import Reconciler  # noqa: PLC0415

        return Reconciler(
            records=self.records,
            bus=self.bus,
            platform=self.platform,
            clock=self.clock,
            settings=self.settings,
        )

    @cached_property
    def commands(self) -> Commands:
        """For orders."""
        from weightdrop.services.commands import Commands  # noqa: PLC0415

        return Commands(
            records=self.records, bus=self.bus, clock=self.clock, settings=self.settings
        )

    @cached_property
    def query(self) -> Query:
        """For questions."""
        from weightdrop.services.query import Query  # noqa: PLC0415

        return Query(
            records=self.records, vertex_endpoint=self.settings.vertex_endpoint
        )

    @cached_property
    def tick(self) -> Tick:
        """For what is due."""
        from weightdrop.services.tick import Tick, at_once  # noqa: PLC0415

        return Tick(
            records=self.records,
            admission=self.admission,
            reconciler=self.reconciler,
            each=at_once,
        )

    def sweep(self) -> tuple[str, ...]:
        """Make platform and records agree, now and then; returns what was removed."""
        from weightdrop.core.planning.tables import packaged_tables  # noqa: PLC0415
        from weightdrop.services.sweep import Sweep, sweep_is_due, swept  # noqa: PLC0415

        now = self.clock.now()
        if not sweep_is_due(self._swept, now):
            return ()
        self._swept = now
        sweep = Sweep(
            records=self.records,
            bus=self.bus,
            platform=self.platform,
            clock=self.clock,
            settings=self.settings,
        )
        known = tuple(packaged_tables().regions)
        settled = self.settings.regions
        return sweep.everywhere(swept(settled, known, now))

    def bury(
        self, attributes: Mapping[str, object], data: object, *, reason: str
    ) -> None:
        """Keep a message that can never be handled, with the reason."""
        from weightdrop import letters  # noqa: PLC0415

        self.bus.publish(
            letters.bury(attributes, data, reason=reason, now=self.clock.now())
        )
