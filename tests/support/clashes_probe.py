"""Files that two packages of this environment both claim, with other contents: whichever was
installed last is what is imported. Prints [path, package, package] of each as JSON."""

import json
import sys
from collections import defaultdict
from importlib.metadata import distributions

owners: dict[str, dict[str, str]] = defaultdict(dict)
for found in distributions():
    for file in found.files or ():
        if file.hash is not None and file.suffix in {".py", ".so"}:
            owners[str(file)][found.metadata["Name"]] = file.hash.value
clashes = [[path, *claims] for path, claims in owners.items() if len(set(claims.values())) > 1]
json.dump(clashes, sys.stdout)
