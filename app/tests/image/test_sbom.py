"""The image contains its software bill of materials."""

from __future__ import annotations

import json

from .running import RunningImage

LIST = """
import importlib.metadata as metadata, json
print(json.dumps({one.metadata["Name"]: one.version for one in metadata.distributions()}))
"""


def test_each_package_and_wheel_of_the_image_is_in_its_bill_of_materials(
    image: RunningImage,
) -> None:
    components = json.loads(image.run("cat", "/usr/share/atoll/sbom.cdx.json").stdout)["components"]
    listed = {one["name"]: one for one in components if "deb/" not in one["bom-ref"]}
    installed = json.loads(image.run("python", "-c", LIST).stdout)
    assert {name.replace("_", "-").replace(".", "-").lower() for name in installed} == set(listed)
    assert all("hashes" in one for name, one in listed.items() if name != "atoll")
    packages = image.run("dpkg-query", "--show", "--showformat", "${Package}=${Version}\n").stdout
    assert set(packages.split()) == {
        f"{one['name']}={one['version']}" for one in components if "deb/" in one["bom-ref"]
    }


def test_the_image_has_no_installer(image: RunningImage) -> None:
    assert image.run("python", "-m", "pip", "--version").returncode != 0
