"""Job files as somebody might write them, each with one mistake: rows for `tests.fog.test_job_files`.

A row is the file, the line and the place that must be named, what must be said of it, what must be advised,
and the public code.
"""

from __future__ import annotations

from typing import NamedTuple

from fog.jobfile import tree


class Row(NamedTuple):
    text: str | bytes
    line: int
    place: str
    says: str
    remedy: str
    code: str = "bad_job_file"


P = "program: good.wasm\n"
LONG = "n" * 300
STEPS = "steps:\n  one: {program: good.wasm}\n"

ROWS: dict[str, Row] = {
    # The file itself.
    "an empty file": Row("", 1, "", "the file is empty", "begin with `program:`"),
    "only comments": Row("# nothing\n", 1, "", "the file is empty", "begin with `program:`"),
    "a text": Row("hello\n", 1, "", "'hello' where fields should be", "write `"),
    "a list": Row("- program: x.c\n", 1, "", "a list of 1 where fields should be", "write `"),
    "no UTF-8": Row(b"name: x\nprogram: \xff\n", 2, "", "not UTF-8: byte 0xff", "save it as UTF-8"),
    "too long": Row(
        "#" * (tree.FILE_SIZE_MAX + 1), 1, "", "a job file may have 262144", "put data into inputs"
    ),
    "tabs": Row(P + "limits:\n\tmemory: 1MiB\n", 3, "", "not YAML", "YAML takes no tabs"),
    "an open bracket": Row(P + "args: [a, b\n", 3, "", "not YAML", "check quotes, brackets"),
    "a colon in a text": Row("name: a: b\n" + P, 1, "", "mapping values are not allowed", "in quotes"),
    "an asterisk": Row(P + "inputs: [*.txt]\n", 2, "", "not YAML", "put the value in quotes"),
    "a control character": Row("name: a\x07\n", 1, "", "not YAML", "take the odd characters out"),
    "two documents": Row(P + "---\n" + P, 2, "", "a second document begins", "one file, one job"),
    "a name twice": Row(
        P + "name: a\n" + P, 3, "", "'program' is there twice, first in line 1", "take one out"
    ),
    "a tag that makes objects": Row(
        "program: !!python/object/apply:os.system [id]\n", 1, "", "the tag 'tag:yaml.org", "take it out"
    ),
    "a merge key": Row("a: &a {price: 1}\n<<: *a\n", 2, "", "merge keys", "at the top of the file"),
    "an alias of nothing": Row(
        P + "args: *common\n", 2, "", "the alias 'common' stands for nothing", "put its anchor"
    ),
    "an alias within itself": Row(
        P + "args: &a [*a]\n", 2, "", "the alias 'a' stands for nothing", "put its anchor"
    ),
    "a billion laughs": Row(
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        5,
        "",
        "more than 20000 values",
        "globs and ranges",
    ),
    "too deep": Row("args: " + "[" * 40 + "]" * 40, 1, "", "more than 16 levels", "look at the brackets"),
    "a list as a name": Row("[a, b]: c\n", 1, "", "a list stands where a name should", "begin with a name"),
    # Fields.
    "an unknown field": Row(P + "inputz: [a.txt]\n", 2, "inputz", "there is no such field", "`inputs`?"),
    "a field nobody would know": Row(
        P + "zzz: 1\n", 2, "zzz", "there is no such field", "write one of: limits"
    ),
    "an unknown limit": Row(P + "limits:\n  mem: 1MiB\n", 3, "limits.mem", "no such field", "`memory`?"),
    "nothing after the colon": Row(P + "args:\n", 2, "args", "nothing stands here", "take the field out"),
    "no program": Row("name: x\n", 1, "", "`program` is missing", "add `program:`"),
    "a list of programs": Row("program: [a.c]\n", 1, "program", "a list of 1 where a single", "one value"),
    "a program without a name": Row("program: ''\n", 1, "program", "the text is empty", "write a value"),
    "a zero byte": Row('program: "a\\0b.c"\n', 1, "program", "it has a zero byte", "take it out"),
    "one argument without a list": Row(P + "args: x\n", 2, "args", "'x' where a list should be", "[x]"),
    "too many arguments": Row(
        P + f"args: [{'x, ' * 65}]\n", 2, "args", "65 of them; at most 64", "take some out"
    ),
    "a long argument": Row(P + f"args: [{'x' * 5000}]\n", 2, "args[0]", "5000 characters", "shorten it"),
    "an argument that is a list": Row(
        P + "args: [[x]]\n", 2, "args[0]", "a single value should be", "one value"
    ),
    "a variable's odd name": Row(P + "env: {'A=B': c}\n", 2, "env.A=B", "do not belong here", "has no `=`"),
    "a variable of the network": Row(
        P + "env: {FOG_SHARD: 1}\n", 2, "env.FOG_SHARD", "every shard has it", "take another name"
    ),
    "a name with a line break": Row(
        P + 'name: "a\\nb"\n', 2, "name", "do not belong here", "letters, digits"
    ),
    "together, perhaps": Row(
        P + "together: perhaps\n", 2, "together", "neither true nor false", "write true"
    ),
    # Numbers, amounts, times.
    "no shards": Row(P + "shards: 0\n", 2, "shards", "0 is out of range", "from 1 to 4096"),
    "half a shard": Row(P + "shards: 1.5\n", 2, "shards", "'1.5' is not a whole number", "from 1 to 4096"),
    "more shards than there may be": Row(
        P + "shards: 5000\n", 2, "shards", "5000 is out of range", "to 4096"
    ),
    "retries without end": Row(P + "retries: 99\n", 2, "retries", "99 is out of range", "from 0 to 10"),
    "a check that is none": Row(P + "check: allways\n", 2, "check", "is none of adaptive", "`always`?"),
    "a size without its unit": Row(
        P + "limits: {memory: 64}\n", 2, "limits.memory", "'64' is not a size", "like 64MiB", "bad_amount"
    ),
    "a size of other units": Row(
        P + "limits:\n  memory: 64MB\n", 3, "limits.memory", "'64MB' is not a size", "KiB, MiB", "bad_amount"
    ),
    "too much memory": Row(
        P + "limits: {memory: 8GiB}\n", 2, "limits.memory", "out of range", "from 1MiB to 4GiB", "bad_amount"
    ),
    "too little memory": Row(
        P + "limits: {memory: 64KiB}\n", 2, "limits.memory", "out of range", "from 1MiB", "bad_amount"
    ),
    "too much output": Row(
        P + "limits: {output: 1GiB}\n", 2, "limits.output", "out of range", "to 256MiB", "bad_amount"
    ),
    "fuel in words": Row(
        P + "limits: {fuel: lots}\n",
        2,
        "limits.fuel",
        "'lots' is not an amount of fuel",
        "digits",
        "bad_amount",
    ),
    "no fuel": Row(
        P + "limits: {fuel: 0}\n", 2, "limits.fuel", "'0' is out of range", "from 0.0", "bad_amount"
    ),
    "a price below nothing": Row(
        P + "price: -1\n", 2, "price", "'-1' is not an amount", "digits", "bad_amount"
    ),
    "a price in dollars": Row(
        P + "price: 1$\n", 2, "price", "'1$' is not an amount", "like 12.5", "bad_amount"
    ),
    "a price too fine": Row(
        P + "price: 0.0000001\n", 2, "price", "more than 6 decimals", "leave", "bad_amount"
    ),
    "a price of the exponent kind": Row(
        P + "price: 1e-3\n", 2, "price", "not an amount", "digits", "bad_amount"
    ),
    "a bond of words": Row(P + "bond: high\n", 2, "bond", "'high' is not an amount", "digits", "bad_amount"),
    "a lease without its unit": Row(
        P + "lease: 10\n", 2, "lease", "not a duration", "like 10m", "bad_amount"
    ),
    "a lease too short": Row(
        P + "lease: 10ms\n", 2, "lease", "'10ms' is out of range", "from 1s", "bad_amount"
    ),
    "a lease too long": Row(P + "lease: 2d\n", 2, "lease", "'2d' is out of range", "to 1d", "bad_amount"),
    "a lease beyond the deadline": Row(
        P + "deadline: 5m\nlease: 10m\n",
        3,
        "lease",
        "a lease of 10m does not fit",
        "shorter lease",
        "bad_lease",
    ),
    "a deadline below the usual lease": Row(
        P + "deadline: 5m\n", 2, "deadline", "a lease of 10m does not fit", "later deadline", "bad_lease"
    ),
    "a deadline of the past": Row(
        P + "deadline: 2026-01-01T00:00:00Z\n",
        2,
        "deadline",
        "is over: it is 2027-01-15",
        "a later moment",
        "deadline_past",
    ),
    "a deadline without a zone": Row(
        P + "deadline: 2027-02-01T00:00:00\n", 2, "deadline", "no time zone", "add it", "bad_amount"
    ),
    "a deadline of no calendar": Row(
        P + "deadline: 2027-02-31\n", 2, "deadline", "is not a moment", "2027-01-31T18:00:00Z", "bad_amount"
    ),
    "a deadline beyond all time": Row(
        P + "deadline: 106751991167d\n", 2, "deadline", "is out of range", "from 1ms to 3653d", "bad_amount"
    ),
    "a moment that nobody will see": Row(
        P + "deadline: 9999-12-31T00:00:00Z\n", 2, "deadline", "is out of range", "before 2037-", "bad_amount"
    ),
    "a deadline of words": Row(
        P + "deadline: tomorrow\n", 2, "deadline", "'tomorrow' is not a duration", "like 10m", "bad_amount"
    ),
    "half of a character in an argument": Row(
        P + 'args: [plain, "\\ud800"]\n', 2, "args[1]", "half of a character", "the character itself"
    ),
    "half of a character in a variable's name": Row(
        P + 'env: {"A\\udfff": x}\n', 2, "env.'A\\udfff'", "half of a character", "the character itself"
    ),
    "half of a character in a name": Row(
        'name: "\\ud83d"\n' + P, 1, "name", "half of a character", "the character itself"
    ),
    "half of a character in a path": Row(
        'program: "\\ud83d.c"\n', 1, "program", "half of a character", "the character itself"
    ),
    "an argument in another form of text": Row(
        P + "args: [plain, cafe\u0301]\n", 2, "args[1]", "accents as characters of their own", "(NFC)"
    ),
    "a variable in another form of text": Row(
        P + "env: {A: x, B: cafe\u0301}\n", 2, "env.B", "accents as characters of their own", "(NFC)"
    ),
    "a value of a sweep in another form of text": Row(
        P + "args: ['{a}']\nsweep:\n  a:\n  - e\n  - e\u0301\n",
        6,
        "sweep.a[1]",
        "accents as characters of their own",
        "(NFC)",
    ),
    # Programs.
    "a program whose name is too long": Row(
        f"program: {LONG}.c\n", 1, "program", "File name too long", "check the path", "no_program"
    ),
    "a folder for results whose name is too long": Row(
        P + f"output: {LONG}\n", 2, "output", "File name too long", "another folder", "cannot_write"
    ),
    "a pipe for a program": Row(
        "program: pipes/a.c\n", 1, "program", "a.c is no plain file", "into a file", "no_program"
    ),
    "a program that is not there": Row(
        "program: none.c\n", 1, "program", "there is no program", "check the path", "no_program"
    ),
    "a folder as a program": Row("program: project\n", 1, "program", "is a folder", "cargo", "no_program"),
    "a program that cannot be read": Row(
        "program: loop.txt\n", 1, "program", "there is no program", "check the path", "no_program"
    ),
    "a script of a shell": Row(
        "program: tool.sh\n", 1, "program", "ends in .wasm, .c, .rs or .py", "compile it", "unknown_program"
    ),
    "a module of another magic": Row(
        "program: magic.wasm\n", 1, "program", "not a WebAssembly module", "wasm32-wasip1", "bad_program"
    ),
    "an empty module": Row("program: empty.wasm\n", 1, "program", "is empty", "build it", "bad_program"),
    "a component": Row(
        "program: component.wasm\n",
        1,
        "program",
        "a WebAssembly component",
        "not for wasm32-wasip2",
        "bad_program",
    ),
    "half a module": Row(
        "program: cut.wasm\n", 1, "program", "cut off or damaged", "copy it again", "bad_program"
    ),
    "a huge module": Row(
        "program: huge.wasm\n", 1, "program", "a program may have 67108864", "strip it", "bad_program"
    ),
    "a library": Row("program: library.wasm\n", 1, "program", "has no _start", "as a command", "bad_program"),
    "a module for something else": Row(
        "program: browser.wasm\n", 1, "program", "imports env.emscripten_run", "Emscripten", "bad_program"
    ),
    "a module that needs more memory": Row(
        "program: large.wasm\nlimits:\n  memory: 1MiB\n",
        3,
        "limits.memory",
        "needs 67108864 bytes of memory",
        "give it 64MiB",
        "memory_too_small",
    ),
    "C that does not compile": Row(
        "program: wrong.c\n", 1, "program", "nonsense", "mend the source", "compile_failed"
    ),
    "Rust that does not compile": Row(
        "program: wrong.rs\n", 1, "program", "nonsense", "mend the source", "compile_failed"
    ),
    "Python with a syntax error": Row(
        "program: wrong.py\n",
        1,
        "program",
        "wrong.py:2: '(' was never closed",
        "mend the script",
        "bad_program",
    ),
    "Python with what is not there": Row(
        "program: numpy.py\n", 1, "program", "it imports numpy", "into the script", "bad_program"
    ),
    "Python that is no UTF-8": Row("program: latin.py\n", 1, "program", "latin.py", "mend", "bad_program"),
    # Inputs.
    "an input that is not there": Row(
        P + "inputs:\n  - a.txt\n  - none.txt\n",
        4,
        "inputs[1]",
        "there is no file 'none.txt'",
        "paths begin at",
        "no_input",
    ),
    "a folder as an input": Row(
        P + "inputs: [data]\n", 2, "inputs[0]", "'data' is a folder", "data/*", "no_input"
    ),
    "a pattern of nothing": Row(
        P + "inputs: ['*.csv']\n", 2, "inputs[0]", "no file matches '*.csv'", "patterns begin at", "no_input"
    ),
    "an input that cannot be read": Row(
        P + "inputs: [loop.txt]\n", 2, "inputs[0]", "cannot read", "check whose it is", "no_input"
    ),
    "an input whose name is too long": Row(
        P + f"inputs: [a.txt, {LONG}.txt]\n",
        2,
        "inputs[1]",
        "File name too long",
        "check the path",
        "no_input",
    ),
    "a link to nowhere among those that are seen together": Row(
        P + "inputs: [gone.txt]\ntogether: true\n", 2, "inputs[0]", "cannot read", "check", "no_input"
    ),
    "an input larger than any can be": Row(
        P + "inputs:\n  - a.txt\n  - endless.bin\n",
        4,
        "inputs[1]",
        "endless.bin has 2147483648 bytes, an input may have",
        "split it",
        "blob_too_big",
    ),
    "a pipe as an input": Row(
        P + "inputs: [pipes/a.txt]\n", 2, "inputs[0]", "is no plain file", "into a file", "no_input"
    ),
    "a device among what matches": Row(
        P + "inputs: ['/dev/zer*']\n", 2, "inputs[0]", "/dev/zero is no plain", "into a file", "no_input"
    ),
    "a link to nowhere": Row(P + "inputs: [gone.txt]\n", 2, "inputs[0]", "cannot read", "check", "no_input"),
    "a pattern that matches what cannot be read": Row(
        P + "inputs: ['*.txt', b.txt]\n", 2, "inputs[0]", "cannot read", "check", "no_input"
    ),
    "an input twice by patterns": Row(
        P + "inputs:\n - data/*\n - data/c.txt\n",
        4,
        "inputs[1]",
        "'c.txt' is there already, by inputs[0]",
        "once",
        "same_input_twice",
    ),
    "a name that is no UTF-8": Row(
        P + "inputs: [raw/*]\n",
        2,
        "inputs[0]",
        "b'\\xff.txt' is not UTF-8",
        "rename the file",
        "bad_file_name",
    ),
    "a name with a line break in it": Row(
        P + "inputs: [odd/*]\n", 2, "inputs[0]", "control character", "rename the file", "bad_file_name"
    ),
    "more shards than inputs": Row(
        P + "inputs: [data/*]\nshards: 3\n",
        3,
        "shards",
        "2 files cannot fill 3 shards",
        "shards 2",
        "too_few_inputs",
    ),
    "more inputs than a shard takes": Row(
        P + "inputs: [many/*]\nshards: 1\n",
        3,
        "shards",
        "at most 256 files a shard",
        "shards 2",
        "too_many_inputs",
    ),
    "more together than fits": Row(
        P + "inputs: [vast.bin]\ntogether: true\n",
        2,
        "inputs",
        "a shard may have 268435456",
        "give `shards:`",
    ),
    "together without inputs": Row(
        P + "together: true\n", 2, "together", "no inputs to see together", "add `inputs:`"
    ),
    "a number as an input's fields": Row(
        P + "inputs: [{file: a.txt}]\n", 2, "inputs[0].file", "no such field", "`files`?"
    ),
    "an output folder that is a file": Row(
        P + "output: a.txt/results\n", 2, "output", "is a file, not a folder", "another name", "cannot_write"
    ),
    "two steps whose results would be one file": Row(
        "steps:\n  one: {program: good.wasm, output: res}\n"
        "  two: {program: good.wasm, inputs: [a.txt], output: res}\n"
        "  three: {program: good.wasm, inputs: [b.txt, data/a.txt], output: ./res}\n",
        4,
        "steps.three.output",
        "a.txt.out is there already, by the step two",
        "a folder of its own",
        "same_output",
    ),
    # Sweeps.
    "a value that the sweep lacks": Row(
        P + "args: ['{sed}']\nsweep: {seed: [1]}\n", 2, "args[0]", "asks for {sed}", "`seed`?", "bad_sweep"
    ),
    "a sweep of nothing": Row(
        P + "sweep: {seed: []}\n", 2, "sweep.seed", "the list is empty", "give it a value"
    ),
    "a sweep over one value": Row(
        P + "sweep: {seed: 1}\n", 2, "sweep.seed", "does not belong here", "a list"
    ),
    "a sweep by an odd name": Row(
        P + "sweep: {a-b: [1]}\n", 2, "sweep.a-b", "do not belong", "letters, digits"
    ),
    "a sweep over the index": Row(
        P + "sweep: {index: [1]}\n", 2, "sweep.index", "number of the point", "another name", "bad_sweep"
    ),
    "more points than there may be": Row(
        P + "sweep:\n  a: {from: 1, to: 100}\n  b: {from: 1, to: 100}\n",
        2,
        "sweep",
        "100 a x 100 b are 10000 points",
        "fewer values",
        "bad_sweep",
    ),
    "a range without an end": Row(
        P + "sweep: {a: {from: 1}}\n", 2, "sweep.a", "`to` is missing", "add `to:`"
    ),
    "a range of words": Row(
        P + "sweep: {a: {from: one, to: 2}}\n",
        2,
        "sweep.a.from",
        "'one' is not a number",
        "digits",
        "bad_sweep",
    ),
    "a range that stands still": Row(
        P + "sweep: {a: {from: 1, to: 2, step: 0}}\n",
        2,
        "sweep.a.step",
        "never comes to an end",
        "step",
        "bad_sweep",
    ),
    "a range that runs away": Row(
        P + "sweep: {a: {from: 2, to: 1}}\n", 2, "sweep.a", "is no way up", "turn them round", "bad_sweep"
    ),
    "an endless range": Row(
        P + "sweep: {a: {from: 0, to: 1, step: 0.0001}}\n",
        2,
        "sweep.a",
        "10001 values",
        "larger step",
        "bad_sweep",
    ),
    "shards of a sweep": Row(
        P + "sweep: {a: [1, 2]}\nshards: 2\n", 3, "shards", "a shard for each point", "take `shards` out"
    ),
    # Steps.
    "a program beside steps": Row(STEPS + P, 3, "program", "is for none of them", "move `program:`"),
    "a step without a program": Row(
        "steps:\n  one: {args: [x]}\n", 2, "steps.one", "is missing", "add `program:`"
    ),
    "a step by an odd name": Row(
        "steps:\n  a b: {program: good.wasm}\n", 2, "steps.a b", "do not belong", "like merge"
    ),
    "no steps": Row("steps: {}\n", 1, "", "`program` is missing", "add `program:`, or `steps:`"),
    "a step that is not there": Row(
        STEPS + "  two: {program: good.wasm, needs: [on]}\n",
        3,
        "steps.two.needs[0]",
        "no step `on`",
        "`one`?",
        "bad_steps",
    ),
    "a step that needs itself": Row(
        "steps:\n  one:\n    program: good.wasm\n    needs: [one]\n",
        4,
        "steps.one.needs[0]",
        "cannot wait for itself",
        "take it out",
        "bad_steps",
    ),
    "a step needed twice": Row(
        STEPS + "  two: {program: good.wasm, needs: [one, one]}\n",
        3,
        "steps.two.needs[1]",
        "twice",
        "out",
        "bad_steps",
    ),
    "a circle": Row(
        "steps:\n"
        "  a: {program: good.wasm, needs: [c]}\n"
        "  b: {program: good.wasm, needs: [a]}\n"
        "  c: {program: good.wasm, needs: [b]}\n",
        2,
        "steps.a.needs",
        "in a circle: a -> c -> b -> a",
        "take one of them out",
        "bad_steps",
    ),
    "outputs of a step that is not needed": Row(
        STEPS + "  two:\n    program: good.wasm\n    inputs:\n      - from: one\n",
        6,
        "steps.two.inputs[0].from",
        "does not need `one`",
        "needs: [one]",
        "bad_steps",
    ),
    "outputs of a step that is not there": Row(
        STEPS + "  two: {program: good.wasm, inputs: [{from: oen}]}\n",
        3,
        "steps.two.inputs[0].from",
        "no step `oen`",
        "`one`?",
        "bad_steps",
    ),
    "outputs where there are no steps": Row(
        P + "inputs: [{from: one}]\n", 2, "inputs[0].from", "no steps here", "name files instead"
    ),
    "a step's deadline beyond all time": Row(
        "steps:\n  one:\n    program: good.wasm\n    deadline: 3654d\n",
        4,
        "steps.one.deadline",
        "is out of range",
        "from 1ms to 3653d",
        "bad_amount",
    ),
    "a step's lease beyond its deadline": Row(
        "steps:\n  one:\n    program: good.wasm\n    deadline: 1m\n    lease: 2m\n",
        5,
        "steps.one.lease",
        "a lease of 2m does not fit",
        "shorter lease",
        "bad_lease",
    ),
    "a step's bad program": Row(
        "steps:\n  one: {program: good.wasm}\n  two:\n    program: cut.wasm\n",
        4,
        "steps.two.program",
        "cut off",
        "copy it again",
        "bad_program",
    ),
}
