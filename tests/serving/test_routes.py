"""Every form of request, against an application that behaves like vLLM's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fakes.engine import Desk, tell


def _events(body: bytes) -> list[Any]:
    lines = [line for line in body.decode().split("\n\n") if line.startswith("data:")]
    return [line[6:] if "[DONE]" in line else json.loads(line[6:]) for line in lines]


class TestInstances:
    """`instances`, as `:predict` sends them."""

    @pytest.mark.parametrize("key", ["prompt", "text", "inputs"])
    def test_every_name_of_a_prompt_is_understood(self, key: str) -> None:
        """A question may be called prompt, text or inputs."""

        async def story(desk: Desk) -> None:
            answer = await desk.ask(body={"instances": [{key: "Hi"}]})
            assert (answer.status, answer.json) == (200, {"predictions": ["<Hi>"]})

        tell(story)

    def test_a_string_is_a_prompt(self) -> None:
        """An instance may be the prompt itself."""

        async def story(desk: Desk) -> None:
            answer = await desk.ask(body={"instances": ["Hi"]})
            assert answer.json == {"predictions": ["<Hi>"]}

        tell(story)

    @pytest.mark.parametrize("extra", [{}, {"@requestFormat": "chatCompletions"}])
    def test_messages_make_a_conversation(self, extra: dict[str, str]) -> None:
        """A conversation's prediction is the chat completion, in a list."""

        async def story(desk: Desk) -> None:
            instance = {"messages": [{"role": "user", "content": "Hi"}], **extra}
            answer = await desk.ask(body={"instances": [instance]})
            (prediction,) = answer.json["predictions"]
            assert prediction["choices"][0]["message"]["content"] == "<Hi>"

        tell(story)

    def test_parameters_are_merged_and_the_nearest_wins(self) -> None:
        """Top level, then the instance's parameters, then the instance itself."""

        async def story(desk: Desk) -> None:
            await desk.ask(
                body={
                    "instances": [
                        {"prompt": "a"},
                        {"prompt": "b", "parameters": {"top_p": 0.5}, "top_k": 7},
                    ],
                    "parameters": {"top_p": 0.9, "top_k": 3, "max_new_tokens": 5},
                }
            )
            first, second = sorted(desk.engine.requests, key=lambda r: r["prompt"])
            assert (first["top_p"], first["top_k"], first["max_tokens"]) == (0.9, 3, 5)
            assert (
                second["top_p"],
                second["top_k"],
                second["max_tokens"],
            ) == (0.5, 7, 5)

        tell(story)

    def test_an_answer_is_long_enough_without_asking(self) -> None:
        """A prompt without max_tokens gets more than vLLM's sixteen."""

        async def story(desk: Desk) -> None:
            await desk.ask(body={"instances": [{"text": "Hi"}]})
            assert desk.engine.requests[0]["max_tokens"] == 256

        tell(story)

    def test_order_is_kept_and_instances_run_together(self) -> None:
        """Many instances are under way at once and answered in order."""

        async def story(desk: Desk) -> None:
            prompts = [f"p{n}" for n in range(100)]
            answer = await desk.ask(body={"instances": prompts})
            assert answer.json["predictions"] == [f"<{p}>" for p in prompts]
            assert 1 < desk.engine.most_under_way <= 16

        tell(story, batch=16)

    def test_no_instances_make_no_predictions(self) -> None:
        """An empty list is answered with an empty list."""

        async def story(desk: Desk) -> None:
            answer = await desk.ask(body={"instances": []})
            assert answer.json == {"predictions": []}

        tell(story)

    def test_one_bad_instance_fails_the_request(self) -> None:
        """As the platform's contract says; the message names the instance."""

        async def story(desk: Desk) -> None:
            body = {"instances": ["hold", {"prompt": "x", "max_tokens": -1}]}
            answer = await desk.ask(body=body)
            assert answer.status == 400
            assert answer.json["error"] == {
                "code": 400,
                "message": "instances[1]: max_tokens must be at least 1",
                "status": "INVALID_ARGUMENT",
            }
            assert desk.engine.cancelled == 1
            assert desk.health.in_flight == 0

        tell(story)

    def test_request_ids_stay_unique(self) -> None:
        """A client's request id is not used twice inside the engine."""

        async def story(desk: Desk) -> None:
            body = {"instances": ["a", "b"]}
            await desk.ask(body=body, headers={"x-request-id": "r"})
            assert sorted(desk.engine.request_ids) == ["r-0", "r-1"]

        tell(story)

    @pytest.mark.parametrize(
        ("body", "word"),
        [
            (b"{", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"[]", "must be a JSON object"),
            (b"{}", "instances"),
            (b'{"instances": {}}', "must be a list"),
            (b'{"instances": [1]}', "instances[0] must be"),
            (b'{"instances": [{}]}', "instances[0] has none of"),
            (b'{"instances": [{"prompt": "a", "text": "b"}]}', "exactly one"),
            (b'{"instances": [{"prompt": "a", "parameters": 1}]}', "an object"),
            (b'{"instances": [{"prompt": "a", "@requestFormat": 1}]}', "one of"),
            (b'{"instances": [{"prompt": "a", "@responseFormat": "x"}]}', "one of"),
            (b'{"prompt": NaN}', "not JSON"),
        ],
    )
    def test_what_has_no_accepted_form_is_refused(self, body: bytes, word: str) -> None:
        """The error says which part of the body is wrong."""

        async def story(desk: Desk) -> None:
            answer = await desk.ask(body=body)
            assert answer.status == 400
            assert word in answer.json["error"]["message"]

        tell(story)


class TestShapes:
    """Other shapes of predictions, by request."""

    def test_whole_completions(self) -> None:
        """`openai` gives vLLM's whole answer for a prompt."""

        async def story(desk: Desk) -> None:
            body = {
                "instances": ["Hi"],
                "parameters": {"@responseFormat": "openai"},
            }
            answer = await desk.ask(body=body)
            assert answer.json["predictions"][0]["choices"] == [{"text": "<Hi>"}]

        tell(story)

    def test_googles_text(self) -> None:
        """`google` echoes the prompt as Google's container does."""

        async def story(desk: Desk) -> None:
            body = {"instances": [{"prompt": " Hi ", "@responseFormat": "google"}]}
            answer = await desk.ask(body=body)
            assert answer.json["predictions"] == ["Prompt:\nHi\nOutput:\n< Hi >"]

        tell(story)

    def test_googles_lone_conversation(self) -> None:
        """`google` puts a lone conversation in place of the list."""

        async def story(desk: Desk) -> None:
            instance = {"messages": [{"role": "user", "content": "Hi"}]}
            body = {"instances": [instance], "@responseFormat": "google"}
            answer = await desk.ask(body=body)
            choice = answer.json["predictions"]["choices"][0]
            assert choice["message"]["content"] == "<Hi>"

        tell(story)

    def test_text_of_a_conversation(self) -> None:
        """`text` gives the words alone."""

        async def story(desk: Desk) -> None:
            instance = {"messages": [{"role": "user", "content": "Hi"}]}
            body = {"instances": [instance], "@responseFormat": "text"}
            assert (await desk.ask(body=body)).json == {"predictions": ["<Hi>"]}

        tell(story)


class TestPlainBodies:
    """OpenAI bodies, as rawPredict and chat/completions send them."""

    @pytest.mark.parametrize(
        "model", [None, "", "tiny", "wd-x-1", "projects/1/models/2", 7]
    )
    def test_any_model_name_will_do(self, model: object) -> None:
        """Whatever Vertex AI or a client says, the served model answers."""

        async def story(desk: Desk) -> None:
            body = {"messages": [{"role": "user", "content": "Hi"}], "model": model}
            answer = await desk.ask(body=body)
            assert (answer.status, answer.json["model"]) == (200, "tiny")

        tell(story)

    def test_an_adapter_is_kept(self) -> None:
        """A name that is served is not replaced."""

        async def story(desk: Desk) -> None:
            answer = await desk.ask(body={"prompt": "Hi", "model": "adapter"})
            assert answer.json["model"] == "adapter"

        tell(story)

    def test_the_platforms_mark_is_not_passed_on(self) -> None:
        """`@requestFormat` at the top is for the route, not for vLLM."""

        async def story(desk: Desk) -> None:
            body = {
                "@requestFormat": "chatCompletions",
                "messages": [{"role": "user", "content": "Hi"}],
            }
            answer = await desk.ask(body=body)
            assert answer.json["choices"][0]["message"]["content"] == "<Hi>"
            assert "@requestFormat" not in desk.engine.requests[0]

        tell(story)

    def test_streams_pass_unchanged(self) -> None:
        """A plain body with stream gets vLLM's own events."""

        async def story(desk: Desk) -> None:
            answer = await desk.ask(body={"prompt": "Hi", "stream": True})
            assert answer.headers["content-type"].startswith("text/event-stream")
            *events, last = _events(answer.body)
            texts = [event["choices"][0]["text"] for event in events]
            assert (texts, last) == (["<", "Hi", ">"], "[DONE]")

        tell(story)

    def test_errors_are_vllms_own(self) -> None:
        """A plain body gets a plain error."""

        async def story(desk: Desk) -> None:
            answer = await desk.ask(body={"prompt": "Hi", "max_tokens": -1})
            assert (answer.status, answer.json["error"]["code"]) == (400, 400)

        tell(story)

    def test_vllms_routes_are_reached(self) -> None:
        """`invoke` reaches vLLM's own paths."""

        async def story(desk: Desk) -> None:
            body = {"prompt": "Hi", "model": "tiny"}
            answer = await desk.ask("/v1/completions", body)
            assert answer.json["choices"] == [{"text": "<Hi>"}]
            assert (await desk.ask("/health", method="GET")).status == 200
            assert (await desk.ask("/none", {})).status == 404

        tell(story)


class TestStreamedInstances:
    """`instances` with `stream`, as `:streamRawPredict` sends them."""

    @pytest.mark.parametrize(
        "body",
        [
            {"instances": [{"prompt": "Hi", "stream": True}]},
            {"instances": [{"prompt": "Hi"}], "parameters": {"stream": True}},
            {"instances": [{"prompt": "Hi"}], "stream": True},
        ],
    )
    def test_one_instance_streams(self, body: dict[str, Any]) -> None:
        """Wherever `stream` stands, events come and an end."""

        async def story(desk: Desk) -> None:
            answer = await desk.ask(body=body)
            assert answer.headers["content-type"].startswith("text/event-stream")
            *events, last = _events(answer.body)
            texts = [event["choices"][0]["text"] for event in events]
            assert (texts, last) == (["<", "Hi", ">"], "[DONE]")

        tell(story)

    def test_several_instances_are_told_apart(self) -> None:
        """Each event names its instance, and there is one end."""

        async def story(desk: Desk) -> None:
            body = {"instances": ["a", "b", "c"], "stream": True}
            answer = await desk.ask(body=body)
            *events, last = _events(answer.body)
            texts = dict.fromkeys(range(3), "")
            for event in events:
                texts[event["instance"]] += event["choices"][0]["text"]
            assert texts == {0: "<a>", 1: "<b>", 2: "<c>"}
            assert last == "[DONE]"

        tell(story)

    def test_an_error_before_the_first_event_is_the_answer(self) -> None:
        """A stream that cannot start has the error's status."""

        async def story(desk: Desk) -> None:
            body = {"instances": [{"prompt": "x", "max_tokens": -1, "stream": True}]}
            answer = await desk.ask(body=body)
            assert answer.status == 400
            assert answer.json["error"]["status"] == "INVALID_ARGUMENT"

        tell(story)

    def test_googles_stream(self) -> None:
        """`google` separates predictions by zero bytes."""

        async def story(desk: Desk) -> None:
            body = {
                "instances": [{"prompt": "Hi", "stream": True}],
                "@responseFormat": "google",
            }
            answer = await desk.ask(body=body)
            parts = [json.loads(part) for part in answer.body.split(b"\0") if part]
            assert [p["predictions"] for p in parts] == [["<"], ["Hi"], [">"]]

        tell(story)


class TestBounds:
    """What keeps one client from hurting the rest."""

    def test_large_bodies_are_refused(self) -> None:
        """A body over the limit gets 413, told or found."""

        async def story(desk: Desk) -> None:
            told = await desk.ask(headers={"content-length": "5000"}, body=b"{}")
            found = await desk.ask(headers={"content-length": "1"}, body=b" " * 5000)
            passed = await desk.ask(
                "/v1/completions", b" " * 5000, headers={"content-length": "1"}
            )
            assert [told.status, found.status, passed.status] == [413] * 3

        tell(story, body=4000)

    def test_too_many_are_turned_away(self) -> None:
        """Over the limit the answer is 503, with a time to come back."""

        async def story(desk: Desk) -> None:
            held = asyncio.create_task(desk.ask(body={"prompt": "hold"}))
            await desk.engine.holding.wait()
            answer = await desk.ask(body={"prompt": "Hi"})
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) > 0
            desk.engine.release.set()
            assert (await held).status == 200
            assert (await desk.ask(body={"prompt": "Hi"})).status == 200

        tell(story, in_flight=1)

    def test_a_full_queue_of_vllms_says_when_to_return(self) -> None:
        """VLLM's own 503 gets the header it lacks."""

        async def story(desk: Desk) -> None:
            answer = await desk.ask(body={"prompt": "busy"})
            assert (answer.status, "retry-after" in answer.headers) == (503, True)

        tell(story)

    @pytest.mark.parametrize(
        "body",
        [
            {"prompt": "hold"},
            {"instances": ["hold"]},
            {"instances": ["hold", "hold", "hold"]},
            {"instances": ["hold", "hold"], "stream": True},
        ],
    )
    def test_a_client_that_leaves_frees_the_engine(self, body: dict[str, Any]) -> None:
        """Nothing is generated for somebody who is gone."""

        async def story(desk: Desk) -> None:
            gone = asyncio.Event()
            asked = asyncio.create_task(desk.ask(body=body, gone=gone))
            await desk.engine.holding.wait()
            await asyncio.sleep(0.01)
            gone.set()
            await asked  # and without an error in the log
            assert desk.engine.cancelled == len(body.get("instances", [1]))
            assert (desk.engine.under_way, desk.health.in_flight) == (0, 0)

        tell(story)

    def test_only_posts_are_predictions(self) -> None:
        """Another method on the predict route is refused."""

        async def story(desk: Desk) -> None:
            assert (await desk.ask(method="GET")).status == 405

        tell(story)


class TestHealthRoute:
    """What the platform's probe sees."""

    def test_healthy_only_after_a_token(self) -> None:
        """Before the model has spoken the answer is 503."""

        async def story(desk: Desk) -> None:
            desk.health.answered = False
            before = await desk.ask("/vertex/health", method="GET")
            desk.health.answered = True
            after = await desk.ask("/vertex/health", method="GET")
            assert (before.status, after.status) == (503, 200)

        tell(story)

    def test_a_silent_engine_is_unhealthy(self) -> None:
        """Work without a sign of life turns health bad, and an answer good again."""

        async def story(desk: Desk) -> None:
            held = asyncio.create_task(desk.ask(body={"prompt": "hold"}))
            await desk.engine.holding.wait()
            desk.clock[0] = 3.9
            good = await desk.ask("/vertex/health", method="GET")
            desk.clock[0] = 4.1
            bad = await desk.ask("/vertex/health", method="GET")
            desk.engine.release.set()
            await held
            again = await desk.ask("/vertex/health", method="GET")
            assert (good.status, bad.status, again.status) == (200, 503, 200)

        tell(story)

    @pytest.mark.parametrize(
        "body",
        [
            {"prompt": "Hi"},
            {"instances": ["Hi"]},
            {"instances": ["a", "b", "c"]},
            {"instances": ["a", "b", "c"], "stream": True},
        ],
    )
    def test_a_client_that_does_not_read_makes_nobody_ill(
        self, body: dict[str, Any]
    ) -> None:
        """However many instances wait for it: the engine has done its work."""

        async def story(desk: Desk) -> None:
            reads = asyncio.Event()
            asked = asyncio.create_task(desk.ask(body=body, reads=reads))
            await desk.stuck.wait()
            desk.clock[0] = 1000
            health = await desk.ask("/vertex/health", method="GET")
            reads.set()
            assert (await asked).status == 200
            assert health.status == 200
            assert (desk.health.in_flight, desk.health._writing) == (0, 0)

        tell(story)

    def test_draining_refuses_new_work(self) -> None:
        """While shutting down, what is under way ends and nothing begins."""

        async def story(desk: Desk) -> None:
            held = asyncio.create_task(desk.ask(body={"prompt": "hold"}))
            await desk.engine.holding.wait()
            desk.health.draining = True
            health = await desk.ask("/vertex/health", method="GET")
            fresh = await desk.ask(body={"prompt": "Hi"})
            desk.engine.release.set()
            assert (health.status, fresh.status) == (503, 503)
            assert (await held).status == 200

        tell(story)


class TestBreaks:
    """What nobody foresaw: vLLM answers 500 and raises its error again."""

    @pytest.mark.parametrize(
        "instances", [["break"], ["a", "break", "hold"], ["hold", "break"]]
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_one_that_breaks_fails_the_request(
        self, instances: list[str], stream: bool
    ) -> None:
        """The error names it, and the others are stopped."""

        async def story(desk: Desk) -> None:
            body = {"instances": instances, "stream": stream}
            answer = await desk.ask(body=body)
            where = instances.index("break")
            assert answer.status == 500
            assert answer.json["error"]["message"] == f"instances[{where}]: broken"
            assert (desk.engine.under_way, desk.health.in_flight) == (0, 0)

        tell(story)

    def test_a_stream_that_tears_says_so(self) -> None:
        """What came before is kept; the error and the end come after it."""

        async def story(desk: Desk) -> None:
            answer = await desk.ask(body={"instances": ["tear", "b"], "stream": True})
            *events, last = _events(answer.body)
            errors = [event["error"] for event in events if "error" in event]
            texts = [e["choices"][0]["text"] for e in events if e["instance"] == 1]
            assert answer.status == 200
            assert [error["code"] for error in errors] == [500]
            assert ("".join(texts), last) == ("<b>", "[DONE]")

        tell(story)
