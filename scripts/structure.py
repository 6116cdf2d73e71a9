#!/usr/bin/env python3
"""The structure of the crates: who imports whom, and whether a reader can follow it from top to bottom.

    python3 scripts/structure.py                  prints a table by crate, and what is behind its numbers
    python3 scripts/structure.py --check          prints what is wrong, and fails if there is anything
    python3 scripts/structure.py --root DIR       looks at another checkout

Tests are left out: files below `tests/`, files and blocks under `#[cfg(test)]`. What is counted:

- An *arrow* goes from one file to another if a path in it (`use crate::…`, `super::…`, `self::…`, a child module's name, in
  a binary also the crate's own name) ends in that file. The path is followed through `pub use` to the file that defines the name, except
  that a re-export by a module other than `lib.rs` also counts as that module's own arrow. A `mod` line alone is no arrow.
- An arrow is *upward* if it leads from a module to the file of a module that contains it (`http/body.rs` to `http.rs`).
  It is no arrow if the child only continues the parent's type, that is, if it has an `impl` block for a type that the parent defines:
  this is one thing in several files.
- A *circle* is a set of files of which each reaches each other by arrows (a strongly connected component).
- *Floors* are the files on the longest way along the arrows; a circle is one floor.
- A file is *long* if it has more than 400 lines.
- A dependency is *unused* if no path of the package (`src`, `tests`, `benches`, `examples`) begins with its name, and one of the
  workspace if no package names it.
- Only some crates may reach NATS by themselves: see NATS.

What stands in TOLERATED is known and does not fail the check. What is no longer needed there does, so the lists only shrink.
"""

import argparse
import collections
import os
import re
import sys

LONGEST = 400
NATS = {"bus", "broker", "testing"}
TOLERATED = {
    # A circle is named by its files, as the report prints them. A smaller one within these files is tolerated too.
    "circles": [],
    # "crate: dependency"
    "unused": [],
    # Paths below the root.
    "long": [],
}

# Comments, strings and characters; a lifetime is none of them.
LITERAL = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | b?r(\#*)".*?"\1 | b?"(?:\\.|[^"\\])*" | b?'(?:\\[^\n]{1,10}?|[^'\\\n])'""",
    re.DOTALL | re.VERBOSE,
)
CFG_TEST = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*")
MOD = re.compile(r"\bmod\s+(\w+)\s*;")
USE = re.compile(r"(\bpub\s*(?:\([^)]*\))?\s*)?\buse\s+([^;]+);")
PATH = re.compile(r"(?<![\w:])(?:\$?crate|super|self|[a-z_]\w*)(?:\s*::\s*\w+)+")
IMPL = re.compile(r"\bimpl\b(?:\s*<[^{};]*?>)?\s+(?:[\w:<>', ]+\s+for\s+)?(?:\w+::)*(\w+)")
DEFINED = r"\b(?:struct|enum|union|trait|type)\s+%s\b"


def without_literals(text):
    """The code alone, with the same lines."""
    return LITERAL.sub(lambda found: "\n" * found.group().count("\n") or " ", text)


def end_of_item(code, start):
    """Behind the item that begins here: its `;`, or the brace that closes it."""
    depth = 0
    for at in range(start, len(code)):
        if code[at] == "{":
            depth += 1
        elif code[at] == "}":
            depth -= 1
            if depth == 0:
                return at + 1
        elif code[at] == ";" and depth == 0:
            return at + 1
    return len(code)


def without_tests(code):
    """The code without what is built for tests only, lines included."""
    while True:
        found = CFG_TEST.search(code)
        if not found:
            return code
        code = code[: found.start()] + code[end_of_item(code, found.end()) :]


def leaves(tree, before=()):
    """`a::{b, c::d as e}` as (path, name) pairs, where the name is what the path is called from now on."""
    parts, depth, begin = [], 0, 0
    for at, char in enumerate(tree):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(tree[begin:at])
            begin = at + 1
    parts.append(tree[begin:])
    for part in (part.strip() for part in parts):
        if not part:
            continue
        head, brace, rest = part.partition("{")
        words = [word for word in re.split(r"\s*::\s*", head.strip()) if word]
        if brace:
            yield from leaves(rest[: rest.rindex("}")], before + tuple(words))
            continue
        last, _, alias = words[-1].partition(" as ")
        path = before + tuple(words[:-1]) + (() if last == "self" and before else (last.strip(),))
        yield path, alias.strip() or path[-1]


class Module:
    """A file of a crate."""

    def __init__(self, crate, path, name):
        self.path, self.name, self.children, self.exports, self.imports = path, name, {}, {}, {}
        with open(os.path.join(crate.root, path), encoding="utf-8") as file:
            code = without_tests(without_literals(file.read()))
        self.lines = code.count("\n")
        self.code = USE.sub(" ", code)
        self.uses = [(bool(public), leaf) for public, tree in USE.findall(code) for leaf in leaves(tree)]
        for public, (path, alias) in self.uses:
            (self.exports if public else self.imports)[alias] = path
        folder, stem = os.path.split(self.path)
        if stem not in ("lib.rs", "main.rs", "mod.rs") and not folder.endswith("src/bin"):
            folder = os.path.join(folder, stem[:-3])
        for child in MOD.findall(code):
            for place in (f"{child}.rs", f"{child}/mod.rs"):
                if os.path.exists(os.path.join(crate.root, folder, place)):
                    self.children[child] = crate.add(os.path.join(folder, place), name + (child,))


class Crate:
    """A package of the workspace and the graph of its files."""

    def __init__(self, root, folder):
        self.root, self.folder, self.modules = root, folder, []
        self.manifest = read_manifest(os.path.join(root, folder, "Cargo.toml"))
        self.library = None
        source = os.path.join(folder, "src")
        if os.path.exists(os.path.join(root, source, "lib.rs")):
            self.library = self.add(os.path.join(source, "lib.rs"), ())
        self.binaries = []
        main, bins = os.path.join(source, "main.rs"), os.path.join(source, "bin")
        if os.path.exists(os.path.join(root, main)):
            self.binaries.append(self.add(main, ("main",)))
        if os.path.isdir(os.path.join(root, bins)):
            for name in sorted(os.listdir(os.path.join(root, bins))):
                if name.endswith(".rs"):
                    self.binaries.append(self.add(os.path.join(bins, name), ("bin", name[:-3])))
        self.parents = {}
        for module in self.modules:
            for child in module.children.values():
                self.parents[child] = module
        self.arrows = {module: self.arrows_of(module) for module in self.modules}
        self.circles = [circle for circle in components(self.arrows) if len(circle) > 1]

    def add(self, path, name):
        module = Module(self, path, name)
        self.modules.append(module)
        return module

    def top(self, module):
        while module in self.parents:
            module = self.parents[module]
        return module

    def base(self, module, path):
        """Where a path begins: the module, and what is left of the path. Nothing for a foreign crate."""
        first, rest = path[0].strip().lstrip("$"), path[1:]
        if first == "crate":
            return self.top(module), rest
        if first == self.manifest["library"] and self.library and module is not self.library:
            return self.library, rest
        if first == "self":
            return module, rest
        if first == "super":
            module = self.parents.get(module, module)
            while rest and rest[0] == "super":
                module, rest = self.parents.get(module, module), rest[1:]
            return module, rest
        if first in module.children:
            return module, path
        return None, ()

    def target(self, module, path, depth=0):
        """The file in which a path ends."""
        here, rest = self.base(module, path)
        while here and rest:
            word = rest[0]
            if word in here.children:
                here, rest = here.children[word], rest[1:]
            elif word in here.exports and depth < 8:
                inner = self.target(here, here.exports[word], depth + 1)
                return inner or here
            else:
                break
        return here

    def arrows_of(self, module):
        paths = [path for _, (path, _) in module.uses]
        paths += [tuple(re.split(r"\s*::\s*", path)) for path in PATH.findall(module.code)]
        found = {self.target(module, path) for path in paths if path}
        found -= {None, module}
        return {other for other in found if not self.continues(module, other)}

    def is_above(self, other, module):
        while module in self.parents:
            module = self.parents[module]
            if module is other:
                return True
        return False

    def continues(self, module, other):
        if not self.is_above(other, module):
            return False
        own = set(IMPL.findall(module.code))
        return any(re.search(DEFINED % re.escape(name), other.code) for name in own)

    def upward(self):
        return [(a, b) for a in self.modules for b in self.arrows[a] if self.is_above(b, a)]

    def floors(self):
        group = {module: number for number, circle in enumerate(components(self.arrows)) for module in circle}
        below = collections.defaultdict(set)
        for module, others in self.arrows.items():
            below[group[module]] |= {group[other] for other in others} - {group[module]}
        height = {}
        # A component is listed behind all that it reaches.
        for number in range(len(set(group.values()))):
            height[number] = 1 + max((height[other] for other in below[number]), default=0)
        return max(height.values(), default=0)

    def long(self):
        return [module for module in self.modules if module.lines > LONGEST]

    def unused(self):
        text = []
        for part in ("src", "tests", "benches", "examples"):
            for folder, _, names in os.walk(os.path.join(self.root, self.folder, part)):
                for name in (name for name in names if name.endswith(".rs")):
                    with open(os.path.join(folder, name), encoding="utf-8") as file:
                        text.append(without_literals(file.read()))
        text = "\n".join(text)
        word = r"(?<![\w:])(?:::)?%s\s*::|\buse\s+%s\b"
        names = ((name, name.replace("-", "_")) for name in self.manifest["dependencies"])
        return [name for name, ident in names if not re.search(word % (ident, ident), text)]


def components(arrows):
    """Strongly connected components (Tarjan), each behind all that it reaches."""
    order, low, stack, on, found = {}, {}, [], set(), []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        on.add(node)
        for other in sorted(arrows[node], key=lambda module: module.path):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            at = stack.index(node)
            found.append(sorted(stack[at:], key=lambda module: module.path))
            on.difference_update(stack[at:])
            del stack[at:]

    for node in arrows:
        if node not in order:
            visit(node)
    return found


def read_manifest(path):
    """A package's name as code spells it, and its dependencies. Read by lines, since not every Python has a TOML reader."""
    section, name, dependencies = "", "", []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("["):
                section = line.strip().strip("[]")
                of = re.fullmatch(r"(?:dev-|build-)?dependencies\.([\w-]+)", section)
                dependencies += [of.group(1)] if of else []
            key = re.match(r"([\w-]+)(?:\.workspace)?\s*=\s*(.*)", line)
            if key and section == "package" and key.group(1) == "name":
                name = key.group(2).strip().strip('"')
            if key and re.search(r"(^|[.-])dependencies$", section):
                dependencies.append(key.group(1))
    return {"library": name.replace("-", "_"), "dependencies": dependencies}


def members(root):
    with open(os.path.join(root, "Cargo.toml"), encoding="utf-8") as file:
        listed = re.search(r"^members\s*=\s*\[([^\]]*)\]", file.read(), re.MULTILINE)
    return re.findall(r'"([^"]+)"', listed.group(1))


def short(crate, module):
    return os.path.relpath(module.path, os.path.join(crate.folder, "src"))


def circle_name(crate, circle):
    return f"{crate.folder}: " + " ".join(short(crate, module) for module in circle)


def report(crates):
    row = "{:<16}" + "{:>9}" * 8
    print(row.format("crate", "files", "lines", "arrows", "upward", "circles", "floors", "long", "unused"))
    for crate in crates:
        lines, arrows = sum(it.lines for it in crate.modules), sum(map(len, crate.arrows.values()))
        upward, long, unused = len(crate.upward()), len(crate.long()), len(crate.unused())
        floors = crate.floors()
        print(row.format(crate.folder, len(crate.modules), lines, arrows, upward, len(crate.circles), floors, long, unused))
    for crate in crates:
        for a, b in crate.upward():
            print(f"upward   {crate.folder}: {short(crate, a)} -> {short(crate, b)}")
    for kind, found in problems(crates).items():
        for line in found:
            print(f"{kind:<8} {line}")


def unshared(crates):
    """Dependencies that the workspace declares and no package takes."""
    with open(os.path.join(crates[0].root, "Cargo.toml"), encoding="utf-8") as file:
        section = re.search(r"^\[workspace\.dependencies\]$(.*?)(?=^\[|\Z)", file.read(), re.MULTILINE | re.DOTALL)
    taken = {name for crate in crates for name in crate.manifest["dependencies"]}
    return [name for name in re.findall(r"^([\w-]+)\s*=", section.group(1), re.MULTILINE) if name not in taken]


def problems(crates):
    return {
        "upward": [f"{crate.folder}: {short(crate, a)} -> {short(crate, b)}" for crate in crates for a, b in crate.upward()],
        "circles": [circle_name(crate, circle) for crate in crates for circle in crate.circles],
        "unused": [f"{crate.folder}: {name}" for crate in crates for name in crate.unused()]
        + [f"workspace: {name}" for name in unshared(crates)],
        "long": [module.path for crate in crates for module in crate.long()],
        "nats": [
            f"{crate.folder}: async-nats is for {', '.join(sorted(NATS))} only"
            for crate in crates
            if "async-nats" in crate.manifest["dependencies"] and crate.folder not in NATS
        ],
    }


def is_within(line, known):
    """Whether a circle has the files of a known one and no others; anything else is equal or not."""
    crate, _, files = line.partition(": ")
    known_crate, _, known_files = known.partition(": ")
    return crate == known_crate and set(files.split()) <= set(known_files.split())


def check(crates):
    wrong = []
    for kind, found in problems(crates).items():
        known = TOLERATED.get(kind, [])
        wrong += [f"{kind}: {line}" for line in found if not any(is_within(line, entry) for entry in known)]
        stale = [entry for entry in known if not any(is_within(line, entry) for line in found)]
        wrong += [f"{kind}: no longer needed in TOLERATED: {entry}" for entry in stale]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--root", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    given = parser.parse_args()
    crates = [Crate(given.root, member) for member in members(given.root)]
    if given.check:
        return check(crates)
    report(crates)
    return 0


if __name__ == "__main__":
    sys.exit(main())
