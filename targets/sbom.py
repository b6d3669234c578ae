"""What the program and the libraries are made of, as CycloneDX 1.5: from `cargo metadata` on standard input to standard output.

Only packages that are compiled into something of the workspace are in it, so none that tests or builds alone need.
"""
import json
import sys

ROOTS = ("amqc", "amq-runtime", "amq-runtime-c", "amq-format")


def reached(metadata):
    """Ids of the packages that ROOTS are made of."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    left, found = [key for key in nodes if names[key] in ROOTS], set()
    while left:
        key = left.pop()
        if key not in found:
            found.add(key)
            left += [dep["pkg"] for dep in nodes[key]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    return nodes, found


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package):
    made = {
        "type": "library",
        "bom-ref": reference(package),
        "purl": reference(package),
        "name": package["name"],
        "version": package["version"],
    }
    if package["license"]:
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return made


def main():
    metadata = json.load(sys.stdin)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes, found = reached(metadata)
    order = sorted(found, key=lambda key: reference(packages[key]))
    version = next(package["version"] for package in packages.values() if package["name"] == "amqc")
    dependencies = [
        {
            "ref": reference(packages[key]),
            "dependsOn": sorted({reference(packages[dep]) for dep in nodes[key]["dependencies"] if dep in found}),
        }
        for key in order
    ]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "amq", "version": version, "bom-ref": "amq"}},
        "components": [component(packages[key]) for key in order],
        "dependencies": dependencies,
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
