"""What agents may propose: one frozen type a kind. Agents are hostile, so every field is bounded.

Unknown kinds, unknown fields and wrong types never become an action. Limits on texts are GitHub's:
https://docs.github.com/en/rest/issues (labels 50, titles 256, bodies 65,536 characters).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, cast

import msgspec
from msgspec import Meta

from potato.core.foreign import as_list, as_object
from potato.core.permission import WRITING
from potato.core.text import did_you_mean, printable

MAX_BODY: Final = 65_000
MOST_CHARACTERS: Final = 1_000_000
"""Of a proposed file."""

_NO_CONTROLS: Final = r"^(?=\S)[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+(?<=\S)\Z"
Label = Annotated[str, Meta(max_length=50, pattern=_NO_CONTROLS)]
Login = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,38}\Z")]
Slug = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")]
Title = Annotated[str, Meta(min_length=1, max_length=256)]
Body = Annotated[str, Meta(max_length=MAX_BODY)]
Name = Annotated[str, Meta(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:/()+-]*\Z")]
Number = Annotated[int, Meta(ge=1, le=2**31)]
Branch = Annotated[str, Meta(min_length=1, max_length=200)]
Sha = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")]
FilePath = Annotated[str, Meta(min_length=1, max_length=1024)]


class _Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True, omit_defaults=True):
    """`repository` and `number` may be given, and must then be the event's own."""

    repository: Annotated[str, Meta(max_length=140)] | None = None


class ApplyLabels(_Action, frozen=True, tag="apply_labels"):
    """Add labels to the subject."""

    labels: Annotated[list[Label], Meta(min_length=1, max_length=100)]
    number: Number | None = None


class RemoveLabels(_Action, frozen=True, tag="remove_labels"):
    """Take labels off the subject."""

    labels: Annotated[list[Label], Meta(min_length=1, max_length=100)]
    number: Number | None = None


class CreateIssue(_Action, frozen=True, tag="create_issue"):
    """Open an issue; one with the same key and still open is found, not doubled."""

    title: Title
    body: Body = ""
    labels: Annotated[list[Label], Meta(max_length=20)] = []
    key: Slug | None = None


class UpdateIssue(_Action, frozen=True, tag="update_issue"):
    """Change title, body or state of the subject, if that is an issue."""

    title: Title | None = None
    body: Body | None = None
    state: Literal["open", "closed"] | None = None
    number: Number | None = None


class Comment(_Action, frozen=True, tag="comment"):
    """Write one comment on the subject. The same agent and key edit it in later runs."""

    body: Annotated[str, Meta(min_length=1, max_length=65_000)]
    key: Slug | None = None
    number: Number | None = None


class RequestReview(_Action, frozen=True, tag="request_review"):
    """Ask people or teams (their slugs) to review the pull request."""

    reviewers: Annotated[list[Login], Meta(max_length=50)] = []
    teams: Annotated[list[Slug], Meta(max_length=50)] = []
    number: Number | None = None


class Review(_Action, frozen=True, tag="review"):
    """Review the pull request. Agents never approve."""

    event: Literal["comment", "request_changes"]
    body: Annotated[str, Meta(min_length=1, max_length=65_000)]
    number: Number | None = None


class FileChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file as it shall be; `content` null deletes it."""

    path: FilePath
    content: Annotated[str, Meta(max_length=MOST_CHARACTERS)] | None
    executable: bool = False


class OpenPr(_Action, frozen=True, tag="open_pr"):
    """Commit files to a new branch under `potato/` and open a pull request from it. `parent` is the commit that they change."""

    title: Title
    files: Annotated[list[FileChange], Meta(min_length=1, max_length=100)]
    body: Body = ""
    branch: Branch | None = None
    base: Branch | None = None
    draft: bool = False
    parent: Sha | None = None


class PushBranch(_Action, frozen=True, tag="push_branch"):
    """Commit files to a branch under `potato/`. `parent` is the commit that they change."""

    branch: Branch
    message: Title
    files: Annotated[list[FileChange], Meta(min_length=1, max_length=100)]
    parent: Sha | None = None


class CreateCheck(_Action, frozen=True, tag="create_check"):
    """Report a check run on the subject's head commit."""

    name: Name
    conclusion: Literal["success", "failure", "neutral", "skipped", "action_required"]
    title: Title
    summary: Body = ""


class DispatchWorkflow(_Action, frozen=True, tag="dispatch_workflow"):
    """Start a workflow by its file name."""

    workflow: Slug
    ref: Branch | None = None
    inputs: dict[Name, Annotated[str, Meta(max_length=10_000)]] = {}


class RouteAgents(_Action, frozen=True, tag="route_agents"):
    """Ask for more agents of the same config to work on this event."""

    agents: Annotated[list[Name], Meta(min_length=1, max_length=100)]
    reason: Annotated[str, Meta(max_length=1000)] = ""


class Block(_Action, frozen=True, tag="block"):
    """Keep the agents that wait for this guard from running."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


Action = (
    ApplyLabels | RemoveLabels | CreateIssue | UpdateIssue | Comment | RequestReview | Review | OpenPr | PushBranch
    | CreateCheck | DispatchWorkflow | RouteAgents | Block
)  # fmt: skip


KINDS: Final[dict[str, type[msgspec.Struct]]] = {
    str(action.__struct_config__.tag): action
    for action in (ApplyLabels, RemoveLabels, CreateIssue, UpdateIssue, Comment, RequestReview, Review, OpenPr, PushBranch, CreateCheck,
                   DispatchWorkflow, RouteAgents, Block)
}  # fmt: skip
"""Kind -> its type."""


class MalformedProposal(Exception):  # noqa: N818 - it names what the thing is
    """The reason why something is no proposal."""


def parse_action(raw: Any) -> Action:  # noqa: ANN401 - an agent's word
    """A typed action. Raises `MalformedProposal` with a reason fit to show."""
    if not isinstance(raw, dict):
        message = "a proposal is an object with a 'kind'"
        raise MalformedProposal(message)
    kind = cast("dict[str, Any]", raw).get("kind")
    if not isinstance(kind, str) or kind not in WRITING:
        message = f"unknown kind {str(kind)[:60]!r}. {did_you_mean(str(kind), WRITING)}".rstrip()
        raise MalformedProposal(message)
    for file in as_list(cast("dict[str, Any]", raw).get("files")):
        problem = as_object(file).get("problem")  # told by whoever made the patch
        if problem:
            raise MalformedProposal(f"{printable(str(as_object(file).get('path')), 200)}: {printable(str(problem), 200)}")
    try:
        return msgspec.convert(raw, _UNION, strict=True)
    except msgspec.ValidationError as error:
        raise MalformedProposal(_in_words(str(error))) from None


def _in_words(message: str) -> str:
    """Msgspec's sentence, with the patterns of names told instead of shown."""
    if "matching regex" in message:
        place = message.rpartition(" - at ")[2] if " - at " in message else ""
        return f"{place or 'a text'} has characters that are not allowed there (control, invisible, or not those of such a name)"
    return message.replace("Object contains", "it has")


_UNION: Final[Any] = Action


def kind_of(action: Action) -> str:
    """The kind, which is also the permission's name."""
    return str(type(action).__struct_config__.tag)


def arguments(action: Action) -> dict[str, Any]:
    """The action's fields as JSON, without `kind` and without what was left at its default."""
    fields = cast("dict[str, Any]", msgspec.to_builtins(action))
    return {key: value for key, value in fields.items() if key != "kind"}
