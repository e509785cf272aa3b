"""Deploy weights that are in a bucket already: look, then confirm.

What is chosen here is asked for as programs ask, in the body of Vertex AI's own
`:deploy`: it is laid over the folder's weightdrop.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from weightdrop.core.planning.tables import packaged_tables
from weightdrop.errors import NotFoundError, PermanentError
from weightdrop_functions.deploying import Wish, wish
from weightdrop_functions.page import prospect, words
from weightdrop_functions.page.render import Site, html, moved

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.datastructures import MultiDict

_REPLICAS = ("min_replica_count", "max_replica_count")
_FIELDS = (
    *("source", "model_id", "region", "machine_type", "endpoint_display_name"),
    *_REPLICAS,
)
MAX_FIELD = 1024
"""Characters of one field; names of objects are no longer."""
MAX_FORM_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine that can be chosen."""

    machine_type: str
    label: str


@cache
def _offers() -> dict[str, tuple[Offer, ...]]:
    """The machines, by accelerator."""
    tables = packaged_tables()
    found: dict[str, list[Offer]] = {}
    for machine in tables.machines.values():
        price = tables.prices.find(region="", machine_type=machine.machine_type)
        gpu = tables.accelerators.get(machine.accelerator_type)
        name = words.accelerator(machine.accelerator_type)
        if gpu is None:
            continue
        cost = f", {words.price(price.hourly_usd)}" if price else ""
        label = f"{machine.machine_type}: {machine.accelerator_count} x {name}{cost}"
        title = f"{name}, {gpu.memory_gib:.0f} GiB each"
        found.setdefault(title, []).append(Offer(machine.machine_type, label))
    return {title: tuple(offers) for title, offers in found.items()}


def answer(site: Site) -> Response:
    """The form, what would come of it, or the deployment that came of it."""
    ordered = site.request.method == "POST"
    if ordered and (site.request.content_length or 0) > MAX_FORM_BYTES:
        raise PermanentError("The form is too large.")
    given = _given(site.request.form if ordered else site.request.args)
    if not given and not ordered:
        return _form(site, given)
    try:
        settings = site.app.settings
        wanted = wish(json.dumps(_body(given)).encode(), buckets=settings.buckets)
        return _deploy(site, wanted) if ordered else _look(site, given, wanted)
    except PermanentError as error:
        return _form(site, given, fault=str(error))


def _given(values: MultiDict[str, str]) -> dict[str, str]:
    found = {name: values.get(name, "").strip()[:MAX_FIELD] for name in _FIELDS}
    return {name: text for name, text in found.items() if text}


def _form(site: Site, given: dict[str, str], *, fault: str = "") -> Response:
    return html(
        site,
        "deploy",
        code=HTTPStatus.BAD_REQUEST if fault else HTTPStatus.OK,
        given=dict.fromkeys(_FIELDS, "") | given,
        fault=fault,
        buckets=site.app.settings.buckets,
        region=site.app.settings.region,
        regions=sorted(packaged_tables().regions),
        offers=_offers(),
        prices_of=packaged_tables().prices.reference_region,
    )


def _look(site: Site, given: dict[str, str], wanted: Wish) -> Response:
    """What would be deployed, where and for how much, before anything is."""
    found = prospect.look(site.app, wanted)
    folder = "/".join(part for part in (wanted.bucket, wanted.prefix) if part)
    return html(
        site,
        "prospect",
        it=found,
        source=f"gs://{folder}",
        given=given | {"source": f"gs://{folder}"},
    )


def _deploy(site: Site, wanted: Wish) -> Response:
    found = site.app.admission.folder(
        wanted.bucket, wanted.prefix, overrides=wanted.overrides
    )
    if found is None:
        place = f"gs://{wanted.bucket}/{wanted.prefix}"
        raise NotFoundError(f"There is no config.json in {place}.")
    return moved(f"{site.root}deployments/{found.id}")


def _body(given: dict[str, str]) -> dict[str, object]:
    """What a program would ask for with these choices.

    Raises:
        PermanentError: If there is no such machine.
    """
    body: dict[str, object] = {"custom_model": {"gcs_uri": given.get("source", "")}}
    if "model_id" in given:
        body["model_config"] = {"model_user_id": given["model_id"]}
    if name := given.get("endpoint_display_name"):
        body["endpoint_config"] = {"endpoint_display_name": name}
    if "region" in given:
        body["destination"] = f"projects/-/locations/{given['region']}"
    resources: dict[str, object] = {
        name: given[name] for name in _REPLICAS if name in given
    }
    if name := given.get("machine_type"):
        machine = packaged_tables().machines.get(name)
        if machine is None:
            raise PermanentError(f"There is no machine {name!r}.")
        resources["machine_spec"] = {
            "machine_type": machine.machine_type,
            "accelerator_type": machine.accelerator_type,
            "accelerator_count": machine.accelerator_count,
        }
    if resources:
        body["deploy_config"] = {"dedicated_resources": resources}
    return body
