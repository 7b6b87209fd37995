#!/usr/bin/env python3
"""Makes small faults in the headers, one at a time, and asks whether the tests notice. See README.md."""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# Tests of headers that no test mirrors, or that others test as well. Without .cpp, below tests/; _test is left out.
TESTS = {
    "core.hpp": ["core", "batch"],
    "cosine_router.hpp": ["cosine_router"],
    "expert/linear.hpp": ["expert/linear", "router/router"],
    "gating/scores.hpp": ["gating/scores", "gating/scored_top_k", "gating/hash", "gating/replay"],
    "gating/score_function.hpp": ["gating/scores", "gating/scored_top_k"],
    "gating/choice_weights.hpp": ["gating/choice_weights", "gating/threshold", "gating/base_assignment"],
    "io/convert.hpp": ["io/safetensors", "io/model_file"],
    "io/dtype.hpp": ["io/safetensors", "io/model_file"],
    "io/atomic_file.hpp": ["io/atomic_file"],
    "io/input_file.hpp": ["io/safetensors", "io/model_file"],
    "io/safetensors_header.hpp": ["io/safetensors", "io/safetensors_corpus"],
    "io/safetensors_reader.hpp": ["io/safetensors", "io/safetensors_corpus"],
    "io/safetensors_writer.hpp": ["io/safetensors", "io/model_file"],
    "io/tensor_info.hpp": ["io/safetensors", "io/safetensors_corpus"],
    "kernel/lanes.hpp": ["kernel/lanes", "kernel/panels_weight_gradient", "kernel/panels_input_gradient"],
    "kernel/panel_reader.hpp": ["kernel/panel_reader", "kernel/panels_forward", "kernel/panels_input_gradient"],
    "kernel/tile.hpp": ["kernel/tile", "kernel/gemm", "kernel/panels_input_gradient"],
    "kernel/tiles.hpp": ["kernel/tiles", "kernel/gemm", "kernel/panels_forward"],
    "layer/run_routing.hpp": ["layer/run_routing", "layer/layer"],
    "objective/cross_entropy.hpp": ["objective/distillation", "loss/gate_label"],
    "objective/hierarchical_mixture.hpp": ["golden/hierarchical"],
    "report/heat_map.hpp": ["report/heat_map", "report/routing_table"],
    "layer/soft_layer.hpp": ["layer/soft_layer", "golden/soft_moe"],
    "surgery/permute_experts.hpp": ["surgery/rearrange_experts", "surgery/add_experts"],
    "core/variant.hpp": ["gating/variant_gate", "expert/variant_expert"],
}

# What is asked where those notice nothing; slower. The first that begins the header's name.
WIDER = [
    ("kernel/", ["expert/mlp", "expert/glu", "layer/run_experts"]),
    ("gating/", ["gradients/gates", "properties/routing", "golden/shazeer", "golden/deepseek"]),
    ("loss/", ["gradients/pairs", "gradients/slot_losses", "properties/losses"]),
    ("expert/", ["gradients/experts", "layer/run_experts"]),
    ("surgery/", ["properties/surgery"]),
    ("optim/", ["golden/sgd", "optim/frozen"]),
    ("report/", ["report/cost"]),
    ("io/", ["io_portable/portable_files"]),
    ("testing/", ["gradients/mutants"]),
    ("", ["reliability/refused_calls", "properties/layer", "properties/padding", "golden/mixtral"]),
]

# Lines on which no result depends, or that are no code of a function.
SKIPPED = re.compile(
    r"^\s*(#|//|static_assert|template\b|using\b|namespace\b|friend\b|MOE_)|\brequires\b|\bconcept\b|PREFETCH|"
    r"-> Layer|eigen_assert"
)
COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
SIGNS = {"+": "-", "-": "+"}
FACTORS = {"*": "/", "/": "*"}
ASSIGNMENTS = {"+=": ["-=", "="], "-=": ["+="], "*=": ["/="], "/=": ["*="]}
LITERALS = {"0": "1", "1": "0", "2": "3"}


def closing(text, start):
    """The index of the parenthesis that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    return -1


def blanked(text):
    """The text with comments, strings and characters as underscores: positions stay."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", "_", m.group()), text)


def without_messages(code):
    """Also blank what a check only says: the arguments of require after the first."""
    out = list(code)
    for found in re.finditer(r"\brequire\(", code):
        end, depth = closing(code, found.end() - 1), 0
        for i in range(found.end(), end):
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(code[i], 0)
            if code[i] == "," and depth == 0:
                for j in range(i, end):
                    if out[j] != "\n":
                        out[j] = "_"
                break
    return "".join(out)


def mutants_of(header):
    """All (position, length, replacement, rule) of a header, in order."""
    text = open(os.path.join(ROOT, "include/moe", header)).read()
    code = without_messages(blanked(text))
    found = []

    def add(rule, begin, end, replacement):
        line_begin = code.rfind("\n", 0, begin) + 1
        line = code[line_begin : code.find("\n", begin)]
        if not SKIPPED.search(line) and text[begin:end] != replacement:
            found.append((begin, end - begin, replacement, rule))

    for m in re.finditer(r"(?<= )(<=|>=|<|>|==|!=)(?= )", code):
        add("comparison", m.start(), m.end(), COMPARISONS[m.group()])
    for m in re.finditer(r"(?<=[\w)\]] )[+-](?= \S)", code):
        add("sign", m.start(), m.end(), SIGNS[m.group()])
    for m in re.finditer(r"(?:(?<=[=(,] )|(?<=return )|(?<=\())-(?=[\w(])", code):
        add("sign", m.start(), m.end(), "")
    for m in re.finditer(r"(?<=[\w)\]] )[*/](?= \S)", code):
        add("factor", m.start(), m.end(), FACTORS[m.group()])
    for m in re.finditer(r"(?<= )(\+=|-=|\*=|/=)(?= )", code):
        for other in ASSIGNMENTS[m.group()]:
            add("assignment", m.start(), m.end(), other)
    for m in re.finditer(r"(?<=[\w)\]]) [+*/-] [\w.]+(?:\([^()\n]*\))?(?=[;,) ])", code):
        add("dropped term", m.start(), m.end(), "")
    for m in re.finditer(r"(?<= )(&&|\|\|)(?= )", code):
        add("logic", m.start(), m.end(), "||" if m.group() == "&&" else "&&")
    for m in re.finditer(r"(?<![\w)])!(?=[\w(])", code):
        add("negation", m.start(), m.end(), "")
    for m in re.finditer(r"\b(true|false)\b", code):
        add("boolean", m.start(), m.end(), "false" if m.group() == "true" else "true")
    for m in re.finditer(r"(?<![\w.])[012](?![\w.])", code):
        add("off by one", m.start(), m.end(), LITERALS[m.group()])
    for m in re.finditer(r"(?<= < )[\w.]+(?:\(\))?(?=; )", code):
        add("off by one", m.start(), m.end(), m.group() + " - 1")
    for m in re.finditer(r"(?<=\(std::)(min|max)(?=\))", code):
        add("comparison", m.start(), m.end(), "max" if m.group() == "min" else "min")
    for m in re.finditer(r"(?<=\w\()(\w[\w.]*), (\w[\w.]*)(?=\))", code):
        add("swapped arguments", m.start(), m.end(), m.group(2) + ", " + m.group(1))
    for m in re.finditer(r"\bif \(", code):
        end = closing(code, m.end() - 1)
        condition = text[m.end() : end]
        if ";" not in condition:
            add("condition", m.end(), end, "false && (" + condition + ")")
            add("condition", m.end(), end, "true || (" + condition + ")")
    for m in re.finditer(r"^ +[\w:.]*\brequire\w*\(", code, re.M):
        end = closing(code, m.end() - 1)
        if code[end + 1 : end + 2] == ";":
            add("removed check", m.start() + len(m.group()) - len(m.group().lstrip()), end + 2, ";")
    call = r"[\w.:>\-]+(?:<[^;\n]*>)?\([^\n]*\)"
    assignment = r"(?:\+\+|--)?[\w.]+(?:->\w+|\[[^\n=]*\]|\([^\n=]*\))*(?: [+*/-]?= [^\n]*)?"
    for m in re.finditer(r"^ +(?:else )?(?:if \([^;\n]*\) |for \([^\n]*\) )?((?:" + call + "|" + assignment + r");)$", code, re.M):
        if "require" not in m.group(1) and not re.match(r"(return|break|continue|default)\b", m.group(1)):
            add("removed statement", m.start(1), m.end(1), ";")
    return text, sorted(set(found))


class Tree:
    """A copy of the tree, in which the mutants are made, and the compiler."""

    def __init__(self, options):
        self.options = options
        self.path = tempfile.mkdtemp(prefix="moe_mutation_")
        for folder in ("include", "tests"):
            shutil.copytree(os.path.join(ROOT, folder), os.path.join(self.path, folder))
        self.flags = ["-std=c++20", "-O0", "-w", "-D_GLIBCXX_ASSERTIONS", "-fopenmp", "-I", self.file("include"), "-I",
                      self.file("tests"), "-isystem", options.eigen, '-DMOE_SOURCE_DIR="%s"' % self.path,
                      "-DMOE_TEST_GRADIENT_ENTRIES=60"]
        with open(self.file("first.hpp"), "w") as out:
            out.write("".join("#include <%s>\n" % h for h in ("Eigen/Core", "gtest/gtest.h", "random", "sstream",
                                                              "filesystem", "regex", "map", "variant")))
        subprocess.run(self.launcher() + [options.compiler, *self.flags, "-x", "c++-header", self.file("first.hpp"),
                                          "-o", self.file("first.hpp.gch")], check=True)

    def file(self, name):
        return os.path.join(self.path, name)

    def launcher(self):
        return self.options.launcher.split()

    def sources(self, names):
        found = [self.file("tests/%s_test.cpp" % n) for n in names]
        found = [f for f in found if os.path.exists(f)]
        if any("/golden/" in f for f in found):
            found.append(self.file("tests/golden/fixture.cpp"))
        return found

    def passes(self, names):
        """None: it does not compile; else whether the tests pass."""
        with open(self.file("all.cpp"), "w") as out:
            out.write("".join('#include "%s"\n' % s for s in self.sources(names)))
        command = self.launcher() + [self.options.compiler, *self.flags, "-include", self.file("first.hpp"),
                                     self.file("all.cpp"), "-o", self.file("test"), "-lgtest_main", "-lgtest",
                                     "-lrapidcheck", "-lpthread"]
        if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            return None
        environment = dict(os.environ, OMP_WAIT_POLICY="passive", OMP_NUM_THREADS="2", RC_PARAMS="max_success=20 seed=1")
        try:
            return subprocess.run(["bash", "-c", "ulimit -v 6000000; exec \"$@\"", "-", self.file("test"),
                                   "--gtest_fail_fast", "--gtest_brief=1"], stdout=subprocess.DEVNULL, cwd=self.path,
                                  stderr=subprocess.DEVNULL, env=environment, timeout=self.options.timeout).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def tests_of(header):
    own = TESTS.get(header, [header[:-4]])
    wider = next(tests for prefix, tests in WIDER if header.startswith(prefix))
    return own, [t for t in wider if t not in own]


def key(header, text, begin, length, replacement):
    """A mutant in words that outlive a change of line numbers: the line before and after, without its comment."""
    line_begin = text.rfind("\n", 0, begin) + 1
    line_end = text.find("\n", begin + length)
    before = text[line_begin:line_end]
    after = text[line_begin:begin] + replacement + text[begin + length : line_end]
    squeeze = lambda s: " ".join(re.sub(r"//[^\n]*", "", s).split())
    return "%s: %s => %s" % (header, squeeze(before), squeeze(after))


def equivalents():
    """The keys of mutants that are known to change nothing that is promised."""
    with open(os.path.join(HERE, "equivalent.txt")) as lines:
        return {line.rstrip("\n") for line in lines if line.strip() and not line.startswith("#")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["."], help="folders or headers below include/moe; all: .")
    parser.add_argument("--mutants", type=int, default=20, help="how many that compile, in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keys", help="a file of mutants, one a line as they are printed: these instead of a sample")
    parser.add_argument("--list", action="store_true", help="print the mutants, make none")
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--eigen", default="/usr/include/eigen3")
    parser.add_argument("--launcher", default="", help="a command to put before each compilation, such as nice")
    parser.add_argument("--timeout", type=float, default=60, help="seconds until a test counts as failed")
    parser.add_argument("--narrow", action="store_true", help="ask the header's own tests alone")
    parser.add_argument("--check", action="store_true", help="first see that each header's tests pass as they are")
    options = parser.parse_args()

    headers = []
    for folder, _, names in os.walk(os.path.join(ROOT, "include/moe")):
        headers += [os.path.relpath(os.path.join(folder, n), os.path.join(ROOT, "include/moe")) for n in names]
    parts = [os.path.normpath(p) for p in options.parts]
    wanted = lambda h: any(p == "." or h == p or os.path.dirname(h) == p or (p == "loose" and "/" not in h) for p in parts)
    texts, mutants = {}, []
    for header in sorted(filter(wanted, headers)):
        texts[header], found = mutants_of(header)
        mutants += [(header, *m) for m in found]
    random.Random(options.seed).shuffle(mutants)
    name_of = lambda m: key(m[0], texts[m[0]], m[1], m[2], m[3])
    if options.keys:
        keys = {line.rstrip("\n").split("  ", 1)[-1] for line in open(options.keys)}
        mutants = [m for m in mutants if name_of(m) in keys]
    known = equivalents()
    if options.list:
        for m in mutants:
            print("%-18s%s" % (m[4], name_of(m)))
        return 0

    tree, count, checked = Tree(options), {"killed": 0, "survived": 0, "equivalent": 0, "broken": 0}, set()
    try:
        for mutant in mutants:
            header, begin, length, replacement, rule = mutant
            if count["killed"] + count["survived"] >= options.mutants:
                break
            name, start = name_of(mutant), time.time()
            if name in known:
                count["equivalent"] += 1
                continue
            own, wider = tests_of(header)
            if not tree.sources(own):
                own, wider = wider, []
            if options.check and header not in checked:
                checked.add(header)
                if not tree.passes(own) or (wider and not options.narrow and not tree.passes(wider)):
                    sys.exit("the tests of %s do not pass as they are" % header)
            text = texts[header]
            place = tree.file("include/moe/" + header)
            with open(place, "w") as out:
                out.write(text[:begin] + replacement + text[begin + length :])
            passed = tree.passes(own)
            if passed and wider and not options.narrow:
                passed = tree.passes(wider)
            with open(place, "w") as out:
                out.write(text)
            result = "broken" if passed is None else "survived" if passed else "killed"
            count[result] += 1
            print("%-9s%3d s %-18s  %s" % (result, time.time() - start, rule, name), flush=True)
    finally:
        shutil.rmtree(tree.path)
    tried = count["killed"] + count["survived"]
    print("%d mutants: %d killed, %d survived; %.1f %%. Besides, %d equivalent ones and %d that do not compile."
          % (tried, count["killed"], count["survived"], 100.0 * count["killed"] / max(tried, 1), count["equivalent"],
             count["broken"]))
    return 1 if count["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
