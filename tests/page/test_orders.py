"""Orders of a person: confirmed, possible, and from the page itself alone."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from page.html_facts import page
from page.samples import CANARY, FAILED, READY
from weightdrop.bootstrap import App
from weightdrop.core.deployment.record import Deployment

OWN = {"Sec-Fetch-Site": "same-origin"}


class TestOrders:
    """Nothing happens without a confirmation on the page itself."""

    @pytest.mark.parametrize(
        ("identity", "order", "phases"),
        [
            (FAILED, "retry", ("failed", "accepted")),
            (READY, "rollback", ("superseded", "accepted")),
            (READY, "undeploy", ("ready", "ready")),
            (CANARY, "promote", ("ready", "ready")),
        ],
    )
    def test_an_order_is_confirmed_and_then_given(
        self,
        app: App,
        full: FlaskClient,
        identity: str,
        order: str,
        phases: tuple[str, str],
    ) -> None:
        """Asking changes nothing; the button does, and leads back."""

        def record() -> Deployment:
            return app.query.deployment(identity)

        before = record()
        index = 0 if order == "rollback" else len(before.revisions) - 1
        asked = page(full, f"/deployments/{identity}/{order}")
        unchanged = record() == before
        given = full.post(f"/deployments/{identity}/{order}", headers=OWN)

        digest = before.revisions[index].digest
        found = record().find(digest)
        assert found is not None
        assert unchanged
        assert ("form", "class", "method", "action") in asked.shape
        assert (303, f"../../deployments/{identity}") == (
            given.status_code,
            given.headers["Location"],
        )
        assert phases == (before.revisions[index].phase, found.phase)
        assert record().withdrawn == (order == "undeploy")
        after = page(full, f"/deployments/{identity}")
        assert ("undeploy was ordered" in after.words) == (order == "undeploy")
        offered = f"../deployments/{identity}/{order}" in after.addresses
        assert not offered

    def test_what_is_not_possible_is_not_offered(self, full: FlaskClient) -> None:
        """No button, and whoever asks anyhow is told why not."""
        failed = page(full, f"/deployments/{FAILED}").addresses

        assert f"../deployments/{FAILED}/retry" in failed
        assert f"../deployments/{FAILED}/undeploy" not in failed
        assert "nothing to undeploy" in (
            page(full, f"/deployments/{FAILED}/undeploy", code=409).words
        )
        assert (
            full.post(f"/deployments/{FAILED}/undeploy", headers=OWN).status_code
        ) == 409

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": "null"},
            {"Origin": "http://evil.example"},
            {"Origin": "http://localhost:8471"},
            {"Origin": "localhost"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        ],
    )
    @pytest.mark.parametrize("path", [f"/deployments/{FAILED}/retry", "/deploy"])
    def test_an_order_of_another_site_is_refused(
        self, app: App, full: FlaskClient, headers: dict[str, str], path: str
    ) -> None:
        """A page elsewhere cannot spend a visitor's money."""
        before = app.query.deployment(FAILED)
        answer = full.post(path, headers=headers, data={"source": "gs://models/x"})

        assert answer.status_code == 403
        assert before == app.query.deployment(FAILED)
        assert app.artifacts.lists == 0  # type: ignore[attr-defined]

    def test_an_older_browser_is_believed_by_its_origin(
        self, full: FlaskClient
    ) -> None:
        """Where there is no better word, the Origin must be the page's own."""
        answer = full.post(
            f"/deployments/{FAILED}/retry", headers={"Origin": "http://localhost"}
        )

        assert answer.status_code == 303

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:8470", "[::2]"])
    def test_a_name_made_to_point_here_is_refused(
        self, full: FlaskClient, host: str
    ) -> None:
        """The local stack asks for no password: only its own names reach it."""
        answer = full.get("/", headers={"Host": host})

        assert answer.status_code == 403
        assert READY not in answer.text
