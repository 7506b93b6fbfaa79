"""The panel: pages for users and operators, rendered from the data of the API."""
