"""The state of the sites in the load balancer."""

import csv
import http.client
import io

from definition import Lab

_METRICS_PORT = 8404


def sites_in_use(lab: Lab) -> set[str]:
    """Return the machines to which the load balancer sends requests while a site is healthy."""
    connection = http.client.HTTPConnection(lab.entrance.address, _METRICS_PORT, timeout=10)
    try:
        connection.request("GET", "/stats;csv")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    servers = csv.DictReader(io.StringIO(text.removeprefix("# ")))
    return {
        server["svname"]
        for server in servers
        if server["pxname"] == "sites" and server["status"].startswith("UP")
    } - {"BACKEND"}
