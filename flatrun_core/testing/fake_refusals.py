"""What an Engine in memory answers when it does not do what it is told."""

from flatrun_core.docker.refusals import engine_refusal
from flatrun_core.errors import DockerUnavailable, FlatrunError


def unavailable() -> DockerUnavailable:
    """The Engine is not there."""
    return DockerUnavailable("The Docker Engine cannot be reached (connection refused). Is it running?")


def refusal(text: str) -> FlatrunError:
    """A refusal in the Engine's words, read as the real one's are."""
    error = engine_refusal(text)
    error.add_note(text)
    return error


def refusal_text(exc: FlatrunError) -> str:
    """An error of the fake as the Engine would have said it."""
    return "".join(getattr(exc, "__notes__", [exc.message]))
