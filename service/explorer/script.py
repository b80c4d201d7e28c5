"""Puts the modules of the page together as one script: one request instead of thirty, and a third less to send.

It knows two forms, `import { a, b } from "./x.js";` and `export` before a function, a class or a constant, and refuses others.
"""

import re
from collections.abc import Mapping
from graphlib import TopologicalSorter

IMPORT = re.compile(r'^import (\{\s*\w+(?:,\s*\w+)*,?\s*\}) from "\./([^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?function\*?|class|const) (\w+)", re.MULTILINE)
OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
# A comment that has lines of its own. It knows no template literals: lines in one that begin like a comment would be cut, too,
# and a test holds that the page has none.
COMMENT = re.compile(r"^ *(?://.*|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/)\n", re.MULTILINE)
# A comment behind code, without a quotation mark that could be the end of a string.
END_COMMENT = re.compile(r"(?<=[;,{}()\[\]]) //[^\"'`\n]*$", re.MULTILINE)
# Indentation. In a template literal it is white space of HTML, of which one line break is as good as more.
INDENTATION = re.compile(r"^ +", re.MULTILINE)


def one_script(modules: Mapping[str, str], libraries: Mapping[str, str]) -> str:
    """Return a module that runs all modules, each in a function of its own, in the order of their imports.

    Both are by the names that imports use. Libraries stay files of their own. Raises ValueError for another form of import or
    export and for modules that import each other, KeyError for a module that is not there.
    """
    needs = {name: _needs(code, libraries) for name, code in sorted(modules.items())}
    imports = "".join(f'import * as library{i} from "./{name}";\n' for i, name in enumerate(libraries))
    known = "".join(f'"{name}": library{i}, ' for i, name in enumerate(libraries))
    bodies = [_body(name, modules[name]) for name in TopologicalSorter(needs).static_order()]
    return f"{imports}const modules = {{ {known}}};\n{''.join(bodies)}"


def _needs(code: str, libraries: Mapping[str, str]) -> list[str]:
    """Return the modules that a module imports, in an order that is the same in every process."""
    return [found[2] for found in IMPORT.finditer(code) if found[2] not in libraries]


def _body(name: str, code: str) -> str:
    exported = ", ".join(found[2] for found in EXPORT.finditer(code))
    for unsent in (COMMENT, END_COMMENT, INDENTATION):
        code = unsent.sub("", code)
    code = EXPORT.sub(r"\1 \2", IMPORT.sub(r'const \1 = modules["\2"];' + "\n", code))
    if found := OTHER.search(code):
        raise ValueError(f"{name}: this form of import or export is not known: {found[0]}")
    return f'modules["{name}"] = (() => {{\n{code}return {{ {exported} }};\n}})();\n'
