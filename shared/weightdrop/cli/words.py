"""The words in what an endpoint answers: ours, vLLM's, or Google's container."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from weightdrop.cli.client import View
from weightdrop.errors import PermanentError


def pieces(event: View) -> Iterator[str]:
    """The words in one event: of a chat, a completion, or Google's container."""
    for choice in event.get("choices", ()):
        delta = choice.get("delta") or {}
        yield delta.get("content") or choice.get("text") or ""
    for prediction in event.get("predictions", ()):
        yield str(prediction)


def words(answer: View, read: Callable[[View], str | None]) -> str:
    """The words in a whole answer; none where the model only calls tools.

    Raises:
        PermanentError: Something else was answered.
    """
    try:
        return read(answer) or ""
    except (LookupError, TypeError, AttributeError) as error:
        raise PermanentError(
            f"The endpoint answered something else than words: {str(answer)[:500]}"
        ) from error


def completion_text(prediction: object) -> str:
    """The model's words in a prediction.

    Whole predictions repeat the prompt before the words, as Google's container
    does: lines "Prompt:" and "Output:" come before each.
    """
    if isinstance(prediction, dict):
        return str(prediction.get("text", prediction))
    text = str(prediction)
    if text.startswith("Prompt:\n"):
        return text.partition("\nOutput:\n")[2]
    return text
