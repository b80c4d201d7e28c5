"""The modules of the page as one script: each keeps its names to itself, and runs after those that it imports."""

import re

import pytest

from service.explorer.pages import PAGE, files
from service.explorer.script import one_script

MAIN = """import { double } from "./other.js";
import { show } from "./vendor/library.js";

const own = 1;
show(double(own));
"""
OTHER = """// What it is for.
const own = 2;

/** Two
 * lines. */
export const double = (value) =>
  value * own; // short
const address = "https:; // no comment";
"""
TOGETHER = """import * as library0 from "./vendor/library.js";
const modules = { "vendor/library.js": library0, };
modules["other.js"] = (() => {
const own = 2;

const double = (value) =>
value * own;
const address = "https:; // no comment";
return { double };
})();
modules["main.js"] = (() => {
const { double } = modules["other.js"];
const { show } = modules["vendor/library.js"];

const own = 1;
show(double(own));
return {  };
})();
"""


def test_modules_in_the_order_of_their_imports() -> None:
    assert one_script({"main.js": MAIN, "other.js": OTHER}, {"vendor/library.js": ""}) == TOGETHER


@pytest.mark.parametrize(
    "code",
    [
        'import value from "./other.js";\n',
        'import { a as b } from "./other.js";\n',
        'import "./other.js";\n',
        'import { a } from "elsewhere";\n',
        "export default 1;\n",
        "export { a };\n",
        "export let a = 1;\n",
    ],
)
def test_a_form_that_is_not_known_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match=r"a\.js: this form of import or export is not known: (import|export)"):
        one_script({"a.js": code, "other.js": ""}, {})


def test_modules_that_import_each_other_and_what_is_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        one_script({"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}, {})
    with pytest.raises(KeyError, match=r"b\.js"):
        one_script({"a.js": 'import { b } from "./b.js";\n'}, {})


TEXT_OF_TEMPLATE = re.compile(r"\\.|`|\$\{")
CODE = re.compile(r"\\.|//.*|/\*[\s\S]*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`|\{|\}")


def template_texts(code: str) -> list[str]:
    """The texts of all template literals, without what `${}` inserts. Regular expressions may not have quotes or braces."""
    position, inside, found = 0, list[str](), list[str]()
    while match := (TEXT_OF_TEMPLATE if inside[-1:] == ["`"] else CODE).search(code, position):
        token = match[0]
        if inside[-1:] == ["`"]:
            found.append(code[position : match.start()])
        if token in ("`", "}") and inside[-1:] == [{"`": "`", "}": "{"}[token]]:
            inside.pop()
        elif token in ("`", "{", "${"):
            inside.append(token[-1])
        position = match.end()
    assert not inside, "a literal or a brace does not end"
    return found


def test_comments_are_cut_from_code_only() -> None:
    assert template_texts("a(`b${{ c: `d` }}\n// e`); // `") == ["b", "d", "\n// e"]
    for file in PAGE.glob("*.js"):
        for text in template_texts(file.read_text()):
            assert not re.search(r"^ *(//|/\*)", text, re.MULTILINE), f"{file.name}: {text}"


def test_the_page_has_one_script_and_its_library() -> None:
    sent = files()
    assert [name for name in sent if name.endswith(".js")] == ["vendor/preact-htm.js", "main.js"]
    assert not re.search(rb"^ *//", sent["main.js"].content, re.MULTILINE)
    assert b"/*" not in sent["style.css"].content
