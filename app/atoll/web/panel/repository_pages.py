"""URI templates and resources of the pages and forms of repositories."""

from __future__ import annotations

from atoll.web.api.resources import Resources
from atoll.web.panel.image import ManifestPage, TagPage
from atoll.web.panel.labels import LabelsPage
from atoll.web.panel.repository import RepositoryPage
from atoll.web.panel.repository_notifications import NewNotification, NotificationForm
from atoll.web.panel.repository_settings import (
    DeletionForm,
    DescriptionForm,
    PermissionForm,
    StateForm,
    VisibilityForm,
)
from atoll.web.panel.security import SecurityPage
from atoll.web.panel.tag_forms import (
    NewTag,
    TagDeletion,
    TagExpiration,
    TagHistoryDeletion,
    TagRestoration,
)


def repository_pages() -> Resources:
    """Return the routes, as (URI template, resource)."""
    return [
        ("/repository/{repository}/tag/{tag}/delete", TagDeletion()),
        ("/repository/{repository}/tag/{tag}/expiration", TagExpiration()),
        ("/repository/{repository}/tag/{tag}/restore", TagRestoration()),
        ("/repository/{repository}/tag/{tag}/forget", TagHistoryDeletion()),
        ("/repository/{repository}/tag/{tag}", TagPage()),
        ("/repository/{repository}/manifest/{digest}/tag", NewTag()),
        ("/repository/{repository}/manifest/{digest}/labels", LabelsPage()),
        ("/repository/{repository}/manifest/{digest}/security", SecurityPage()),
        ("/repository/{repository}/manifest/{digest}", ManifestPage()),
        ("/repository/{repository}/settings/description", DescriptionForm()),
        ("/repository/{repository}/settings/permission", PermissionForm()),
        ("/repository/{repository}/settings/state", StateForm()),
        ("/repository/{repository}/settings/visibility", VisibilityForm()),
        ("/repository/{repository}/settings/delete", DeletionForm()),
        ("/repository/{repository}/notifications/new", NewNotification()),
        ("/repository/{repository}/notifications", NotificationForm()),
        ("/repository/{repository}", RepositoryPage()),
    ]
