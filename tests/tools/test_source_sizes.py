"""Sizes of the engine's sources: no file above 350 lines, no class with more than 20 virtual functions."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 350
MOST_VIRTUAL = 20
CLASS = re.compile(r"\b(?:class|struct)\s+(?:LT_\w+\s+)?([A-Za-z_][\w:]*)(?:\s+final)?(?:\s*:[^;{]*)?\s*\{")


def sources() -> list[Path]:
    return [f for f in (ROOT / "engine").rglob("*") if f.suffix in (".h", ".cc", ".cu")]


def plain(text: str) -> str:
    """The text without comments and string literals, in which braces and words may stand."""
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', " ", text, flags=re.DOTALL)


def body(text: str, start: int) -> str:
    """What stands between the brace that ends at `start` and its partner, without what inner braces hold."""
    depth, out = 1, []
    for c in text[start:]:
        depth += (c == "{") - (c == "}")
        if depth == 0:
            break
        if depth == 1:
            out.append(";" if c == "}" else c)
    return "".join(out)


def virtual_functions(text: str) -> dict[str, int]:
    """Of each class in the text, inherited ones that it overrides included, destructors not."""
    text = plain(text)
    counts = {}
    for match in CLASS.finditer(text):
        statements = body(text, match.end()).split(";")
        counts[match.group(1)] = sum("~" not in s and bool(re.search(r"\b(virtual|override)\b", s)) for s in statements)
    return counts


def test_no_file_is_too_long() -> None:
    lines = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in sources()}
    assert not {name: n for name, n in lines.items() if n > MOST_LINES}


def test_no_class_has_too_many_virtual_functions() -> None:
    counts = {f"{f.relative_to(ROOT)}: {name}": n for f in sources() for name, n in virtual_functions(f.read_text()).items()}
    assert not {name: n for name, n in counts.items() if n > MOST_VIRTUAL}
    # The control: the count sees what there is.
    assert counts["engine/ops/device.h: Device"] > 10
    assert counts["engine/ops/ops.h: Ops"] == 2


def test_virtual_functions_are_counted() -> None:
    text = """
    class A : public B<int> {  // virtual void Comment();
     public:
      virtual ~A() = default;
      virtual void F() = 0;
      int G() const override { if (x) { return 1; } return 2; }
      void Plain();
      struct Inner { virtual void H(); };
    };
    """
    assert virtual_functions(text) == {"A": 2, "Inner": 1}
