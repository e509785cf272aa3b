"""How the container ends: the table of docs/serving.md, and what tests hold it to."""

from __future__ import annotations

from dataclasses import dataclass

from weightdrop_serving.failures import Exit

UNHEALTHY_SECONDS = 5.0
"""For how long health may still say 200 after any of these began."""


@dataclass(frozen=True, slots=True)
class End:
    """One way to end.

    Attributes:
        cause: What happens to it.
        status: What it exits with; negative for the signal that killed it.
        seconds: Within which it ends, after the cause.
        says: Part of the last line of its log; empty if it cannot say anything.
        after: What `seconds` are counted from, where it is not the cause itself.
        tests: What shows it.
    """

    cause: str
    status: int
    seconds: int
    says: str
    tests: tuple[str, ...]
    after: str = ""

    def row(self) -> str:
        """Its row of the documentation's table."""
        status = str(int(self.status)) if self.status >= 0 else "none of its own"
        within = f"{self.seconds} s" + (f" {self.after}" if self.after else "")
        says = f"`{self.says}`" if self.says else "nothing more"
        shown = ", ".join(f"`{test}`" for test in self.tests)
        return f"| {self.cause} | {status} | {within} | {says} | {shown} |"


TOLD = End(
    "SIGTERM, with nothing under way",
    Exit.STOPPED,
    10,
    "stopped as asked",
    (
        "test_while_it_downloads_the_port_answers_and_sigterm_ends_it",
        "test_sigterm_while_vllm_starts_waits_for_nothing",
    ),
)
ENGINE_KILLED = End(
    "the engine is killed while it serves",
    Exit.ENGINE_DIED,
    10,
    "the engine died",
    ("test_a_dead_engine_ends_the_container",),
)
WORKER_KILLED = End(
    "one of vLLM's workers is killed",
    Exit.ENGINE_DIED,
    20,
    "the engine died",
    ("test_a_dead_worker_ends_the_container",),
)
START_KILLED = End(
    "vLLM's server or its engine is killed while it downloads",
    Exit.ENGINE_DIED,
    20,
    "vLLM ended by itself",
    (
        "test_a_server_killed_while_it_downloads_ends_the_container",
        "test_an_engine_killed_while_it_downloads_ends_the_container",
    ),
)
SUPERVISOR_KILLED = End(
    "the supervisor is killed: while it downloads, while vLLM starts, while it answers",
    -9,
    10,
    "",
    (
        "test_killed_while_it_downloads_nothing_stays",
        "test_a_killed_supervisor_leaves_nothing",
        "test_killed_while_it_answers_nothing_stays",
    ),
)
HUNG = End(
    "the engine hangs",
    Exit.ENGINE_HUNG,
    10,
    "no sign of life",
    ("test_a_hang_that_lasts_ends_the_container",),
    after="after `WEIGHTDROP_SERVING_HANG_EXIT_SECONDS`",
)
DISK_FULL = End(
    "the disk becomes full",
    Exit.DISK_FULL,
    20,
    "cannot write",
    ("test_a_full_disk_ends_the_container",),
)
DISK_TOO_SMALL = End(
    "the disk is too small for the model",
    Exit.DISK_FULL,
    20,
    "the model needs",
    ("test_a_disk_that_is_too_small_ends_the_container",),
)
BUCKET_GONE = End(
    "the bucket goes away while it downloads",
    Exit.STORAGE_UNREACHABLE,
    45,
    "after 8 tries",
    ("test_a_bucket_that_goes_away_ends_the_container",),
)
BUCKET_SILENT = End(
    "the bucket keeps connections and sends nothing",
    Exit.STORAGE_UNREACHABLE,
    300,
    "after 8 tries",
    ("test_a_bucket_that_falls_silent_is_given_up",),
)
DENIED = End(
    "the bucket may not be read",
    Exit.STORAGE_DENIED,
    20,
    "roles/storage.objectViewer",
    ("test_a_bucket_that_refuses_ends_the_container",),
)
WEIGHTS_REPLACED = End(
    "a file is deleted or replaced, before it is read or meanwhile",
    Exit.WEIGHTS_MISSING,
    20,
    "deleted or replaced",
    (
        "test_weights_that_change_end_the_container_and_its_engine",
        "test_an_overwritten_file_is_refused",
    ),
)
WEIGHTS_DAMAGED = End(
    "other bytes arrive than the bucket's checksum says",
    Exit.WEIGHTS_UNUSABLE,
    20,
    "crc32c",
    ("test_weights_that_change_end_the_container_and_its_engine",),
)
NOT_VALIDATED = End(
    "the folder is not the one that was validated",
    Exit.WEIGHTS_UNUSABLE,
    20,
    "is not what was validated",
    (
        "test_without_its_list_the_digest_tells",
        "test_a_list_of_another_folder_is_refused",
    ),
)

TABLE = (
    "| what happens | status | within | last line of the log | shown by |",
    "| --- | --- | --- | --- | --- |",
)
ENDS = {name: one for name, one in vars().copy().items() if isinstance(one, End)}
