"""Sentences for the kinds of entries in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.names import Digest

# Characters of a value in a sentence; the details of an entry have all.
_VALUE_MAXIMUM = 80
_SHORT_DIGEST = 12

# Of the sentences of a kind, the first one applies whose fields an entry has.
SENTENCES: Mapping[str, tuple[str, ...]] = {
    # Images
    "push_repo": ("Pushed the tag {tag}", "Pushed the manifest {manifest_digest}"),
    "pull_repo": ("Pulled the tag {tag}", "Pulled the manifest {manifest_digest}"),
    "move_tag": ("Set the tag {tag} to {manifest_digest}",),
    "revert_tag": ("Restored the tag {tag} to {manifest_digest}",),
    "delete_tag": ("Deleted the tag {tag}",),
    "change_tag_expiration": ("Changed the expiration of the tag {tag}",),
    "permanently_delete_tag": ("Deleted the history of the tag {tag}",),
    "manifest_label_add": ("Added the label {key} to {manifest_digest}",),
    "manifest_label_delete": ("Removed the label {key} from {manifest_digest}",),
    # Repositories
    "create_repo": ("Created the repository {repo}",),
    "delete_repo": ("Deleted the repository {repo}",),
    "set_repo_description": ("Changed the description of {repo}",),
    "change_repo_visibility": ("Made the repository {repo} {visibility}",),
    "change_repo_state": ("Set the state of {repo} to {state_changed}",),
    "change_repo_permission": ("Granted {delegate} the role {role}",),
    "delete_repo_permission": ("Revoked the permission of {delegate}",),
    "add_repo_notification": ("Added a notification of {event} by {method}",),
    "delete_repo_notification": ("Deleted a notification",),
    "reset_repo_notification": ("Enabled a notification again",),
    "change_replication_policy": (
        "Changed the replication policy of {repo}",
        "Changed the replication policy",
    ),
    "delete_replication_policy": (
        "Deleted the replication policy of {repo}",
        "Deleted the replication policy",
    ),
    # Mirrors
    "repo_mirror_enabled": ("Enabled the mirror",),
    "repo_mirror_disabled": ("Disabled the mirror",),
    "repo_mirror_config_changed": ("Changed {changed} of the mirror", "Changed the mirror"),
    "repo_mirror_sync_now_requested": ("Requested a run of the mirror",),
    "repo_mirror_sync_started": ("Started a run of the mirror: {message}",),
    "repo_mirror_sync_success": ("Completed a run of the mirror: {message}",),
    "repo_mirror_sync_failed": ("A run of the mirror failed: {message}",),
    "repo_mirror_sync_tag_success": ("Mirrored a tag: {message}",),
    "repo_mirror_sync_tag_failed": ("A tag was not mirrored: {message}",),
    "org_mirror_enabled": ("Created a mirror of {external_registry_url}",),
    "org_mirror_disabled": ("Deleted the mirror of {external_reference}",),
    "org_mirror_config_changed": ("Changed the mirror of {external_reference}",),
    "org_mirror_sync_now_requested": ("Requested a run of the mirror of {external_reference}",),
    "org_mirror_sync_cancelled": ("Cancelled the run of the mirror of {external_reference}",),
    "org_mirror_sync_started": ("Started a run of the mirror of {external_reference}",),
    "org_mirror_sync_success": ("Completed a run of the mirror: {message}",),
    "org_mirror_sync_failed": ("A run of the mirror failed: {message}",),
    "org_mirror_repo_created": ("Created a repository for the mirror: {message}",),
    "org_mirror_repo_creation_failed": ("A repository was not created for the mirror: {message}",),
    # Organizations
    "org_create": ("Created the organization",),
    "org_change": ("Renamed the organization from {old_name}", "Changed the organization"),
    "org_delete": ("Deleted the organization",),
    "org_create_team": ("Created the team {team} with the role {role}",),
    "org_set_team_role": ("Set the role of the team {team} to {role}",),
    "org_delete_team": ("Deleted the team {team}",),
    "org_add_team_member": ("Added {member} to the team {team}",),
    "org_remove_team_member": ("Removed {member} from the team {team}",),
    "create_prototype_permission": ("Made {role} the default permission of {delegate}",),
    "modify_prototype_permission": ("Changed a default permission to {role}",),
    "delete_prototype_permission": ("Deleted a default permission",),
    "take_ownership": ("Took ownership of the namespace",),
    # Accounts, robots and tokens
    "user_create": ("Created the user {username}",),
    "user_change": ("Changed the account",),
    "user_change_name": ("Renamed the account from {old_username}",),
    "user_delete": ("Deleted the user {username}",),
    "account_change_password": ("Changed the password",),
    "create_robot": ("Created the robot {robot}",),
    "delete_robot": ("Deleted the robot {robot}",),
    "regenerate_robot_token": ("Replaced the token of the robot {robot}",),
    "create_app_specific_token": ("Created the app token {token_title}",),
    "revoke_app_specific_token": ("Revoked an app token",),
    "revoke_api_token": ("Revoked an API token",),
    # Applications
    "create_application": ("Created the application {application_name}",),
    "update_application": ("Changed the application {application_name}",),
    "delete_application": ("Deleted the application {application_name}",),
    "reset_application_client_secret": ("Replaced the secret of {application_name}",),
    "authorize_application": ("Authorized the application {client_id}",),
    "create_oauth_api_token": ("Created the token {token_display_name} of {application_name}",),
    "revoke_oauth_api_token": ("Revoked a token of {application_name}",),
    "create_oauth_assignment": ("Offered {assigned_user} a token of {client_id}",),
    "delete_oauth_assignment": ("Declined a token of {client_id} for {assigned_user}",),
    # The registry
    "create_message": ("Published a message to all users",),
    "delete_message": ("Deleted a message to all users",),
    "export_logs_success": ("Requested an export of the log",),
    "change_location_state": ("Set the state of the location {location} to {state}",),
    "backfill_replication": ("Queued missing copies",),
    "retry_replication": ("Retried failing copies",),
}


def sentence(kind: str, metadata: Mapping[str, Any]) -> str:
    """Return a sentence without a subject for an entry, such as `Deleted the tag v1`.

    Args:
        kind: The kind of the entry; an unknown one is named.
        metadata: Its details.
    """
    values = {name: _text(value) for name, value in metadata.items() if value is not None}
    for template in SENTENCES.get(kind, ()):
        try:
            return template.format_map(values)
        except KeyError:
            continue
    return kind.replace("_", " ").capitalize()


def _text(value: Any) -> str:
    """Return a value as text; a digest is shortened."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = str(value)
    if Digest.is_digest(text):
        return text.partition(":")[2][:_SHORT_DIGEST]
    return text if len(text) <= _VALUE_MAXIMUM else f"{text[:_VALUE_MAXIMUM]}…"
