"""The commands against a status function that asks who one is, as Cloud Run does."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

from cli.conftest import Outcome, weightdrop
from fakes.builders import make_deployment, make_message, make_revision
from local.relay import certificate
from weightdrop.bootstrap import App
from weightdrop.cli.context import Where, find_target, status_client
from weightdrop.cli.telling import event_stream
from weightdrop.core.deployment.phases import Phase
from weightdrop.settings import Backend, Settings
from weightdrop_functions.http import respond

ID = "tiny-12345678"
ACCESS = "access-token-of-the-account"


def identity(audience: str) -> str:
    """A token that says for whom it is; nobody here looks at its signature."""
    parts = (
        {"alg": "RS256", "typ": "JWT"},
        {"aud": audience, "exp": int(time.time()) + 3600, "email": "me@example.com"},
    )
    text = [base64.urlsafe_b64encode(json.dumps(it).encode()) for it in parts]
    return ".".join(it.decode().rstrip("=") for it in text) + ".c2lnbmF0dXJl"


@dataclass
class Cloud:
    """Google, as far as the commands meet it: tokens, a function, an endpoint.

    Attributes:
        app: What the status function reads.
        url: Of the status function, over TLS.
        tokens: Where tokens are given, in plain.
        refused: Paths that were asked without the right token.
    """

    app: App
    url: str
    tokens: str
    refused: list[str]

    def keep(self, phase: Phase = Phase.READY) -> None:
        """Put a deployment there whose endpoint is here."""
        revision = make_revision(phase=phase)
        self.app.records.create(
            make_deployment(
                ID,
                revisions=(revision,),
                endpoint_name="projects/p/locations/us-central1/endpoints/e",
                endpoint_url=f"{self.url}/v1beta1/e",
            ),
            events=(make_message("event-1"),),
        )

    def weightdrop(self, *words: str) -> Outcome:
        """Run a command against it."""
        return weightdrop(words[0], "--url", self.url, *words[1:])


def _site(app: App, refused: list[str], own: Callable[[], str]) -> Flask:
    site = Flask("cloud")

    @site.route("/token", methods=["POST"])
    def token() -> Response:
        """Google's token endpoint: an identity token if an audience is named."""
        asserted = request.form["assertion"].split(".")[1]
        padded = asserted + "=" * (-len(asserted) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        if "target_audience" in claims:
            return jsonify(id_token=identity(claims["target_audience"]))
        return jsonify(access_token=ACCESS, expires_in=3600, token_type="Bearer")

    def bearer() -> str:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    @site.route("/v1beta1/e/chat/completions", methods=["POST"])
    def chat() -> Response | tuple[Response, int]:
        if bearer() != ACCESS:
            refused.append(request.path)
            return jsonify(error={"message": "no permission"}), 403
        answer = {"message": {"content": "From the cloud."}}
        return jsonify(choices=[answer])

    @site.route("/", defaults={"path": ""}, methods=["GET", "POST"])
    @site.route("/<path:path>", methods=["GET", "POST"])
    def function(path: str) -> Response | tuple[str, int]:
        try:
            claims = bearer().split(".")[1]
            padded = claims + "=" * (-len(claims) % 4)
            audience = json.loads(base64.urlsafe_b64decode(padded))["aud"]
        except (IndexError, ValueError):
            audience = ""
        if audience != own():
            refused.append(path)
            return "<h1>Error: Unauthorized</h1>", 403 if audience else 401
        return respond(app, request)

    return site


@contextmanager
def served(site: Flask, secret: tuple[Path, Path] | None = None) -> Iterator[int]:
    """The port at which `site` answers, over TLS with a certificate and its key."""
    names = (str(secret[0]), str(secret[1])) if secret else None
    server = make_server("127.0.0.1", 0, site, threaded=True, ssl_context=names)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The cloud, and nobody who is logged in to it."""
    app = App(Settings(backend=Backend.LOCAL, home=tmp_path / "state"))
    refused: list[str] = []
    place: list[str] = []
    site = _site(app, refused, lambda: place[0])
    secret = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(secret[0]))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with served(site) as plain, served(site, secret) as tls:
        place.append(f"https://localhost:{tls}")
        yield Cloud(app, place[0], f"http://127.0.0.1:{plain}", refused)


@pytest.fixture(scope="module")
def private_key() -> str:
    """A service account's key; made once, because it takes a while."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def account(
    cloud: Cloud, private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Cloud:
    """The cloud, and a service account's file for it."""
    facts = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k",
        "private_key": private_key,
        "client_email": "me@p.iam.gserviceaccount.com",
        "token_uri": f"{cloud.tokens}/token",
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(facts))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return cloud


def gcloud(tmp_path: Path, script: str) -> None:
    """Put a Google Cloud CLI on the path."""
    path = tmp_path / "bin" / "gcloud"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    "words",
    [("status",), ("status", ID), ("events", ID), ("status", ID, "--watch")],
    ids=" ".join,
)
def test_a_service_account_is_let_in(account: Cloud, words: tuple[str, ...]) -> None:
    """With an identity token that is made out to this very function."""
    account.keep()
    outcome = account.weightdrop(*words)

    assert (outcome.status, account.refused) == (0, [])
    assert outcome.out


def test_an_order_is_taken(account: Cloud) -> None:
    """Orders carry the token as questions do."""
    account.keep()

    assert account.weightdrop("undeploy", ID).status == 0
    assert account.refused == []


def test_an_endpoint_is_asked_with_an_access_token(account: Cloud) -> None:
    """Another token than the function's: Vertex AI is an API of Google's."""
    account.keep()
    outcome = account.weightdrop("ask", ID, "Hello?", "--no-stream")

    assert (outcome.status, outcome.out) == (0, "From the cloud.\n")
    assert account.refused == []


def test_whoever_uses_gcloud_is_let_in(cloud: Cloud, tmp_path: Path) -> None:
    """A person's own credentials make no identity token; the Google Cloud CLI does."""
    cloud.keep()
    gcloud(
        tmp_path,
        f'case "$2" in print-identity-token) echo {identity(cloud.url)};; '
        f"*) echo {ACCESS};; esac",
    )

    assert cloud.weightdrop("status", ID).status == 0
    assert cloud.weightdrop("ask", ID, "Hello?", "--no-stream").status == 0
    assert cloud.refused == []


def test_nobody_is_told_the_very_command(cloud: Cloud) -> None:
    """No credentials, no Google Cloud CLI: what to install, and what to run."""
    outcome = cloud.weightdrop("status")

    assert (outcome.status, outcome.out) == (2, "")
    assert "`gcloud auth login`" in outcome.err
    assert "GOOGLE_APPLICATION_CREDENTIALS" in outcome.err


def test_a_login_that_ran_out_is_told_the_very_command(
    cloud: Cloud, tmp_path: Path
) -> None:
    """In the words of the Google Cloud CLI."""
    gcloud(tmp_path, "echo 'ERROR: Reauthentication failed.' >&2; exit 1")
    outcome = cloud.weightdrop("status")

    assert outcome.status == 2
    assert "Reauthentication failed." in outcome.err
    assert "`gcloud auth login`" in outcome.err


def test_a_foreign_token_is_refused_with_what_to_do(
    cloud: Cloud, tmp_path: Path
) -> None:
    """The function's own page is HTML; the sentence says whom to ask."""
    gcloud(tmp_path, f"echo {identity('https://elsewhere.example')}")
    outcome = cloud.weightdrop("status")

    assert outcome.status == 1
    assert "status_invokers" in outcome.err
    assert cloud.refused


def test_an_endpoint_that_refuses_names_the_permission(
    cloud: Cloud, tmp_path: Path
) -> None:
    """The token is good and the right is missing."""
    cloud.keep()
    gcloud(
        tmp_path,
        f'case "$2" in print-identity-token) echo {identity(cloud.url)};; '
        "*) echo other;; esac",
    )
    outcome = cloud.weightdrop("ask", ID, "Hello?", "--no-stream")

    assert outcome.status == 1
    assert "aiplatform.endpoints.predict" in outcome.err


def test_no_token_goes_over_a_plain_connection(account: Cloud) -> None:
    """Whatever listens there could use it."""
    outcome = weightdrop("status", "--url", account.tokens)

    assert outcome.status == 1
    assert account.refused == ["deployments"]
    assert "over http:// no token is sent" in outcome.err


def test_following_events_asks_only_for_what_changed(account: Cloud) -> None:
    """By asking again and again; each event is shown once."""
    account.keep(Phase.DEPLOYING)
    client = status_client(find_target(Where(url=account.url)))
    stream = event_stream(client)
    first = next(stream)
    held = account.app.records.get(ID)
    assert held is not None
    later = replace(
        held.deployment, updated=held.deployment.updated + timedelta(seconds=1)
    )
    account.app.records.put(
        later, version=held.version, events=(make_message("event-2"),)
    )
    second = next(stream)

    assert [first["id"], second["id"]] == ["event-1", "event-2"]


@pytest.mark.parametrize(
    ("words", "variables", "asked"),
    [
        (
            ("--project", "my-project"),
            {},
            "https://us-central1-my-project.cloudfunctions.net/weightdrop-status",
        ),
        (
            ("--project", "p", "--region", "europe-west4"),
            {"WEIGHTDROP_BASE_URL": "https://other.example"},
            "https://europe-west4-p.cloudfunctions.net/weightdrop-status",
        ),
        (
            (),
            {"WEIGHTDROP_PROJECT": "q", "WEIGHTDROP_REGION": "us-east4"},
            "https://us-east4-q.cloudfunctions.net/weightdrop-status",
        ),
        (
            ("--url", "https://mine.example/"),
            {"WEIGHTDROP_PROJECT": "q"},
            "https://mine.example",
        ),
        (
            (),
            {"WEIGHTDROP_PROJECT": "q", "WEIGHTDROP_BASE_URL": "https://b.example/"},
            "https://b.example",
        ),
    ],
)
def test_options_go_before_the_environment(
    words: tuple[str, ...],
    variables: dict[str, str],
    asked: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A project is enough: Terraform's function has a name that follows from it."""
    monkeypatch.setenv("WEIGHTDROP_HOME", str(tmp_path))
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    named: Any = dict(zip((it[2:] for it in words[::2]), words[1::2], strict=True))
    target = find_target(Where(**named))

    assert target.status_url == asked
    assert not target.local
